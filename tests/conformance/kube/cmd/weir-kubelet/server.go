// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

const followEvery = 100 * time.Millisecond

// serve starts the server of the Pods' logs, to which the API server turns. It has a certificate of its own making,
// which the API server takes.
func (a *agent) serve() error {
	cert, err := selfSigned(a.address.Addr().AsSlice())
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", a.address.String(), &tls.Config{Certificates: []tls.Certificate{cert}})
	// One that was killed has the port until the last of its threads has gone.
	for end := time.Now().Add(15 * time.Second); errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		listener, err = tls.Listen("tcp", a.address.String(), &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", a.containerLogs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	go func() { log.Fatal(http.Serve(listener, mux)) }()
	return nil
}

func selfSigned(ip net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weir-kubelet"}, IPAddresses: []net.IP{ip},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (a *agent) containerLogs(w http.ResponseWriter, r *http.Request) {
	p := a.find(r.PathValue("namespace"), r.PathValue("pod"))
	if p == nil {
		http.Error(w, "no such pod", http.StatusNotFound)
		return
	}
	for _, c := range append(append([]*container{}, p.init...), p.containers...) {
		if c.spec.Name == r.PathValue("container") {
			c.writeLogs(w, r)
			return
		}
	}
	http.Error(w, "no such container", http.StatusNotFound)
}

// writeLogs knows sinceTime, sinceSeconds, tailLines, timestamps and follow.
func (c *container) writeLogs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var since time.Time
	if s := q.Get("sinceTime"); s != "" {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		since = t
	}
	if s, err := strconv.Atoi(q.Get("sinceSeconds")); err == nil {
		since = time.Now().Add(-time.Duration(s) * time.Second)
	}
	lines, next := c.logs.from(0)
	for len(lines) > 0 && lines[0].at.Before(since) {
		lines = lines[1:]
	}
	if n, err := strconv.Atoi(q.Get("tailLines")); err == nil && n >= 0 && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	stamps, _ := strconv.ParseBool(q.Get("timestamps"))
	follow, _ := strconv.ParseBool(q.Get("follow"))
	w.Header().Set("Content-Type", "text/plain")
	for {
		for _, l := range lines {
			if stamps {
				_, _ = io.WriteString(w, l.at.UTC().Format(time.RFC3339Nano)+" ")
			}
			if _, err := io.WriteString(w, l.text); err != nil {
				return
			}
		}
		isOver := isClosed(c.pod.allEnded)
		if !follow || isOver && len(lines) == 0 {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(followEvery):
		}
		lines, next = c.logs.from(next)
	}
}
