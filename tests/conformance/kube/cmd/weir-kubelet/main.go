// SPDX-License-Identifier: Apache-2.0

// weir-kubelet stands in for the scheduler, the kubelets and the container runtime of a cluster in Weir's tests.
//
// It creates Nodes, binds Pods to them, runs each Pod's programs in a network namespace of its own with addresses of its
// own, and writes what a kubelet writes. There are no images: an image's name stands for a program (image.go). One
// process is all the nodes. When it ends, in whatever way, every program that it started is killed by the kernel.
//
// Files: agent (follows Pods), node, pod (the life of one), container (a program), inside (what runs within it before
// the program), sandbox (namespaces and addresses), volume, env, probe, logs, server, dns.
package main

import (
	"context"
	"flag"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "inside": // in the namespaces of a container: see inside.go
			insideMain(os.Args[2])
		case "dns":
			dnsMain()
		}
	}

	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of an administrator")
	dir := flag.String("dir", "", "folder for the Pods' files")
	programs := flag.String("programs", "", "folder of the programs that images stand for (echo-basic)")
	bridge := flag.String("bridge", "pods", "bridge to which Pods are attached; it has the gateways' addresses")
	pods4 := flag.String("pods-ipv4", "10.91.0.1/16", "gateway and prefix of Pods")
	pods6 := flag.String("pods-ipv6", "fd91::1/64", "gateway and prefix of Pods")
	nodes := flag.Int("nodes", 2, "number of Nodes, each in a zone of its own")
	listen := flag.String("listen", "10.91.0.1:10250", "address of the logs' server, which is also the Nodes' address")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	network, err := newNetwork(*bridge, netip.MustParsePrefix(*pods4), netip.MustParsePrefix(*pods6))
	if err != nil {
		log.Fatal(err)
	}
	a := newAgent(client, network, *dir, *programs, netip.MustParseAddrPort(*listen))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := a.serve(); err != nil {
		log.Fatal(err)
	}
	if err := a.makeNodes(ctx, *nodes); err != nil {
		log.Fatal(err)
	}
	if err := a.follow(ctx); err != nil {
		log.Fatal(err)
	}
	log.Print("ready")
	<-ctx.Done()
	a.killAll()
}
