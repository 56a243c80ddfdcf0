// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// program is what an image stands for: a file of the host, under another name, and its arguments.
type program struct {
	file string // on the host
	name string // in the container; "" if the host's own name serves
	argv []string
}

// programOf gives what a container runs:
//
//	.../echo-basic:TAG       the conformance suite's echo server; command and args do not count
//	.../coredns/coredns:TAG  a DNS server that answers any question (dns.go)
//	weir.test/host:TAG       command and args, in the host's own file system
func (a *agent) programOf(c *corev1.Container, expand func(string) string) (program, error) {
	image, _, _ := strings.Cut(c.Image, "@")
	base := image[strings.LastIndex(image, "/")+1:]
	base, _, _ = strings.Cut(base, ":")
	switch {
	case base == "echo-basic":
		return program{filepath.Join(a.programs, "echo-basic"), "/echo-basic", []string{"/echo-basic"}}, nil
	case base == "coredns":
		self, err := os.Executable()
		return program{self, "/coredns", []string{"/coredns", "dns"}}, err
	case strings.HasPrefix(image, "weir.test/host"):
		var argv []string
		for _, arg := range append(append([]string{}, c.Command...), c.Args...) {
			argv = append(argv, expand(arg))
		}
		if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
			return program{}, fmt.Errorf("weir.test/host needs a command with an absolute path")
		}
		return program{argv: argv}, nil
	}
	return program{}, fmt.Errorf("there is no program for the image %q", c.Image)
}
