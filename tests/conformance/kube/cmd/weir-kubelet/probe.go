// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe runs the readiness probe (httpGet or tcpSocket) until done, also while the Pod is terminating.
func (c *container) probe(done chan struct{}) {
	spec := c.spec.ReadinessProbe
	wait := time.Duration(spec.InitialDelaySeconds) * time.Second
	good, bad := int32(0), int32(0)
	for {
		select {
		case <-done:
			return
		case <-time.After(wait):
		}
		wait = time.Duration(max(spec.PeriodSeconds, 1)) * time.Second
		if err := c.probeOnce(spec); err != nil {
			good, bad = 0, bad+1
			if bad >= max(spec.FailureThreshold, 1) {
				c.setReady(false)
			}
			log.Printf("%s: %s: not ready: %v", c.pod.name(), c.spec.Name, err)
			continue
		}
		good, bad = good+1, 0
		if good >= max(spec.SuccessThreshold, 1) {
			c.setReady(true)
		}
	}
}

func (c *container) probeOnce(spec *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(max(spec.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	ip := c.pod.sandbox.ip4.String()
	switch {
	case spec.TCPSocket != nil:
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip, c.port(spec.TCPSocket.Port)))
		if err != nil {
			return err
		}
		return conn.Close()
	case spec.HTTPGet != nil:
		return c.probeHTTP(ctx, spec.HTTPGet, net.JoinHostPort(ip, c.port(spec.HTTPGet.Port)))
	}
	return fmt.Errorf("this kind of probe is not supported")
}

func (c *container) probeHTTP(ctx context.Context, get *corev1.HTTPGetAction, address string) error {
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+get.Path, nil)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		req.Header.Add(h.Name, h.Value)
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			req.Host = h.Value
		}
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// port gives a number; one of the container's ports may be named.
func (c *container) port(p intstr.IntOrString) string {
	if p.Type == intstr.Int {
		return strconv.Itoa(p.IntValue())
	}
	for _, cp := range c.spec.Ports {
		if cp.Name == p.StrVal {
			return strconv.Itoa(int(cp.ContainerPort))
		}
	}
	return p.StrVal
}
