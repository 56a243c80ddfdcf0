// SPDX-License-Identifier: Apache-2.0

// One request over each of n connections by crypto/tls, which resumes where it may:
//
//	tls_go ADDRESS:PORT CA_FILE SERVER_NAME VERSION TARGET N
//
// prints a line of JSON for each.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func ask(address, target string, config *tls.Config) error {
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", target, config.ServerName)
	answer, err := io.ReadAll(c) // io.ErrUnexpectedEOF: the end came without close_notify
	if err != nil {
		return err
	}
	s := c.ConnectionState()
	line, _, _ := strings.Cut(string(answer), "\r\n")
	fmt.Printf("{\"line\": %q, \"version\": \"%x\", \"resumed\": %t, \"alpn\": %q}\n", line, s.Version, s.DidResume,
		s.NegotiatedProtocol)
	return nil
}

func main() {
	ca, err := os.ReadFile(os.Args[2])
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		fmt.Fprintln(os.Stderr, "no CA:", err)
		os.Exit(1)
	}
	version := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[os.Args[4]]
	config := &tls.Config{RootCAs: roots, ServerName: os.Args[3], MinVersion: version, MaxVersion: version,
		NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	n, _ := strconv.Atoi(os.Args[6])
	for i := 0; i < n; i++ {
		if err := ask(os.Args[1], os.Args[5], config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
