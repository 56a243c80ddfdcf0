// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// agent is all the nodes. It owns the pods: one entry, and one goroutine, from when a Pod is seen bound until it is gone.
type agent struct {
	client   kubernetes.Interface
	network  *network
	dir      string
	programs string
	address  netip.AddrPort
	nodes    []*corev1.Node

	mu      sync.Mutex
	pods    map[types.UID]*pod
	binding map[types.UID]bool
	turn    int // whose turn it is of the nodes
}

func newAgent(client kubernetes.Interface, n *network, dir, programs string, address netip.AddrPort) *agent {
	return &agent{client: client, network: n, dir: dir, programs: programs, address: address,
		pods: map[types.UID]*pod{}, binding: map[types.UID]bool{}}
}

// follow starts to follow all Pods, and returns when those that there were at the beginning have been seen.
func (a *agent) follow(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(a.client, 0)
	informer := factory.Core().V1().Pods().Informer()
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { a.seen(ctx, obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { a.seen(ctx, obj.(*corev1.Pod)) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			a.gone(obj.(*corev1.Pod))
		},
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("cannot list Pods")
	}
	return nil
}

func (a *agent) seen(ctx context.Context, obj *corev1.Pod) {
	if obj.Spec.NodeName == "" {
		a.schedule(ctx, obj)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.binding, obj.UID)
	p := a.pods[obj.UID]
	if p == nil {
		if a.node(obj.Spec.NodeName) == nil || obj.Status.Phase == corev1.PodSucceeded || obj.Status.Phase == corev1.PodFailed {
			return
		}
		p = newPod(a, obj)
		a.pods[obj.UID] = p
		go p.run(ctx)
	}
	if obj.DeletionTimestamp != nil {
		p.terminate(obj.DeletionTimestamp.Time)
	}
}

// gone: the object is no more, so nobody waits for its programs.
func (a *agent) gone(obj *corev1.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.binding, obj.UID)
	if p := a.pods[obj.UID]; p != nil {
		p.kill()
	}
}

func (a *agent) forget(p *pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pods, p.obj.UID)
}

// find gives the pod of a name, or nil.
func (a *agent) find(namespace, name string) *pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		if p.obj.Namespace == namespace && p.obj.Name == name {
			return p
		}
	}
	return nil
}

func (a *agent) node(name string) *corev1.Node {
	for _, n := range a.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// schedule binds a Pod to the next node in turn that its nodeSelector and affinity allow.
func (a *agent) schedule(ctx context.Context, obj *corev1.Pod) {
	if obj.DeletionTimestamp != nil || len(obj.Spec.SchedulingGates) > 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.binding[obj.UID] {
		return
	}
	allowed := nodeaffinity.GetRequiredNodeAffinity(obj)
	for range a.nodes {
		n := a.nodes[a.turn%len(a.nodes)]
		a.turn++
		if ok, err := allowed.Match(n); err != nil || !ok {
			continue
		}
		a.binding[obj.UID] = true
		go a.bind(ctx, obj, n.Name)
		return
	}
	log.Printf("%s/%s: no node fits", obj.Namespace, obj.Name)
}

func (a *agent) bind(ctx context.Context, obj *corev1.Pod, node string) {
	err := a.client.CoreV1().Pods(obj.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: obj.Namespace, Name: obj.Name, UID: obj.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, metav1.CreateOptions{})
	if err != nil {
		log.Printf("%s/%s: bind: %v", obj.Namespace, obj.Name, err)
		a.mu.Lock()
		delete(a.binding, obj.UID) // its next update tries again
		a.mu.Unlock()
	}
}

func (a *agent) killAll() {
	a.mu.Lock()
	var all []*pod
	for _, p := range a.pods {
		all = append(all, p)
	}
	a.mu.Unlock()
	for _, p := range all {
		p.kill()
	}
	for _, p := range all {
		<-p.ended
	}
}
