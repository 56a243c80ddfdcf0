// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is the life of a Pod: volumes, a sandbox, init containers in turn, containers; once it is deleted, their end
// within its grace period, and only then the end of the object, so that its endpoints are seen terminating in between.
type pod struct {
	agent   *agent
	obj     *corev1.Pod // as first seen
	dir     string
	sandbox *sandbox

	stopping chan struct{} // closed: its programs are to end
	killed   chan struct{} // closed: at once
	allEnded chan struct{} // closed: no program is left
	ended    chan struct{} // closed: nothing is left
	changed  chan struct{} // its status is to be written

	mu         sync.Mutex
	graceEnd   time.Time
	init       []*container
	containers []*container
	started    metav1.Time
	conditions map[corev1.PodConditionType]corev1.PodCondition
}

const retryVolumes = 200 * time.Millisecond

func newPod(a *agent, obj *corev1.Pod) *pod {
	p := &pod{agent: a, obj: obj, dir: filepath.Join(a.dir, string(obj.UID)), started: metav1.Now(),
		stopping: make(chan struct{}), killed: make(chan struct{}), allEnded: make(chan struct{}), ended: make(chan struct{}),
		changed: make(chan struct{}, 1), conditions: map[corev1.PodConditionType]corev1.PodCondition{}}
	for _, c := range obj.Status.Conditions {
		p.conditions[c.Type] = c
	}
	for i := range obj.Spec.InitContainers {
		p.init = append(p.init, newContainer(p, &obj.Spec.InitContainers[i]))
	}
	for i := range obj.Spec.Containers {
		p.containers = append(p.containers, newContainer(p, &obj.Spec.Containers[i]))
	}
	return p
}

func (p *pod) name() string { return p.obj.Namespace + "/" + p.obj.Name }

// run is the whole life.
func (p *pod) run(ctx context.Context) {
	defer p.end()
	written := make(chan struct{})
	go p.writeStatuses(ctx, written)
	if p.prepare(ctx) {
		go p.stopInTime()
		if p.runInits() {
			p.runContainers()
		}
	}
	close(p.allEnded)
	p.isChanged()
	<-written // with the status of the end
	select {
	case <-p.stopping:
		p.deleteObject()
	case <-p.killed:
	case <-ctx.Done():
	}
}

// prepare waits for what the Pod needs and makes its sandbox. False: it was deleted before.
func (p *pod) prepare(ctx context.Context) bool {
	for said := false; ; said = true {
		err := p.makeVolumes(ctx)
		if err == nil {
			p.sandbox, err = p.agent.network.create()
		}
		if err == nil {
			return true
		}
		if !said {
			log.Printf("%s: waits: %v", p.name(), err)
			for _, c := range p.containers {
				c.setWaiting("ContainerCreating", err.Error())
			}
		}
		select {
		case <-p.stopping:
			return false
		case <-p.killed:
			return false
		case <-time.After(retryVolumes):
		}
	}
}

func (p *pod) runInits() bool {
	policy := p.obj.Spec.RestartPolicy
	if policy == corev1.RestartPolicyAlways {
		policy = corev1.RestartPolicyOnFailure
	}
	for _, c := range p.init {
		c.run(policy)
		p.mu.Lock()
		ok := c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
		p.mu.Unlock()
		if !ok || p.isStopping() {
			return false
		}
	}
	return true
}

func (p *pod) runContainers() {
	var all sync.WaitGroup
	for _, c := range p.containers {
		all.Go(func() { c.run(p.obj.Spec.RestartPolicy) })
	}
	all.Wait()
}

// stopInTime ends the programs once the Pod is to end.
func (p *pod) stopInTime() {
	select {
	case <-p.stopping:
	case <-p.allEnded:
		return
	}
	for _, c := range append(append([]*container{}, p.init...), p.containers...) {
		go c.stop()
	}
}

// terminate: the Pod was deleted, and may run until then.
func (p *pod) terminate(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.graceEnd.IsZero() || until.Before(p.graceEnd) {
		p.graceEnd = until
	}
	closeOnce(p.stopping)
}

// kill: nobody waits for it any more.
func (p *pod) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	closeOnce(p.stopping)
	closeOnce(p.killed)
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (p *pod) isStopping() bool { return isClosed(p.stopping) }

func (p *pod) graceOver() <-chan time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.After(time.Until(p.graceEnd))
}

func (p *pod) isChanged() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// end leaves nothing of it.
func (p *pod) end() {
	if p.sandbox != nil {
		p.agent.network.destroy(p.sandbox)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		log.Printf("%s: %v", p.name(), err)
	}
	p.agent.forget(p)
	close(p.ended)
}

func (p *pod) deleteObject() {
	if isClosed(p.killed) {
		return
	}
	now, uid := int64(0), p.obj.UID
	err := p.agent.client.CoreV1().Pods(p.obj.Namespace).Delete(context.Background(), p.obj.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !errors.IsNotFound(err) && !errors.IsConflict(err) {
		log.Printf("%s: delete: %v", p.name(), err)
	}
}

// writeStatuses writes the status whenever it has changed, until that of the end is written.
func (p *pod) writeStatuses(ctx context.Context, written chan struct{}) {
	defer close(written)
	for {
		select {
		case <-p.changed:
		case <-p.allEnded:
		case <-ctx.Done():
			return
		}
		isLast := isClosed(p.allEnded)
		if isClosed(p.killed) && !isLast {
			continue
		}
		if err := p.writeStatus(ctx); errors.IsNotFound(err) || errors.IsConflict(err) {
			p.kill() // it is gone, or another has its name
		} else if err != nil {
			log.Printf("%s: status: %v", p.name(), err)
			time.Sleep(retryVolumes)
			p.isChanged()
			isLast = isLast && isClosed(p.killed)
		}
		if isLast {
			return
		}
	}
}

func (p *pod) writeStatus(ctx context.Context) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.obj.UID},
		"status":   p.status(),
	})
	if err != nil {
		return err
	}
	_, err = p.agent.client.CoreV1().Pods(p.obj.Namespace).Patch(ctx, p.obj.Name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	return err
}

func (p *pod) status() corev1.PodStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	host := p.agent.address.Addr().String()
	s := corev1.PodStatus{Phase: p.phase(), HostIP: host, HostIPs: []corev1.HostIP{{IP: host}}, StartTime: &p.started,
		ObservedGeneration: p.obj.Generation, QOSClass: p.obj.Status.QOSClass}
	areReady := true
	for _, c := range p.containers {
		s.ContainerStatuses = append(s.ContainerStatuses, c.status())
		areReady = areReady && c.isReady
	}
	areInitialized := true
	for _, c := range p.init {
		s.InitContainerStatuses = append(s.InitContainerStatuses, c.status())
		areInitialized = areInitialized && c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
	}
	if p.sandbox != nil {
		ip4, ip6 := p.sandbox.ip4.String(), p.sandbox.ip6.String()
		s.PodIP, s.PodIPs = ip4, []corev1.PodIP{{IP: ip4}, {IP: ip6}}
	}
	for _, c := range []struct {
		kind corev1.PodConditionType
		is   bool
	}{{corev1.PodReadyToStartContainers, p.sandbox != nil}, {corev1.PodInitialized, areInitialized},
		{corev1.ContainersReady, areReady}, {corev1.PodReady, areReady}, {corev1.PodScheduled, true}} {
		s.Conditions = append(s.Conditions, p.condition(c.kind, c.is))
	}
	return s
}

// condition keeps the time of its last change.
func (p *pod) condition(kind corev1.PodConditionType, is bool) corev1.PodCondition {
	status := corev1.ConditionFalse
	if is {
		status = corev1.ConditionTrue
	}
	c := p.conditions[kind]
	if c.Status != status {
		c = corev1.PodCondition{Type: kind, Status: status, LastTransitionTime: metav1.Now(), ObservedGeneration: p.obj.Generation}
		if !is && (kind == corev1.PodReady || kind == corev1.ContainersReady) {
			c.Reason = "ContainersNotReady"
		}
		p.conditions[kind] = c
	}
	return c
}

func (p *pod) phase() corev1.PodPhase {
	anyBegan, allEnded, allWell := false, true, true
	for _, c := range p.containers {
		anyBegan = anyBegan || c.state.Waiting == nil || c.last.Terminated != nil
		allEnded = allEnded && c.state.Terminated != nil
		allWell = allWell && c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
	}
	switch {
	case isClosed(p.allEnded) && allWell:
		return corev1.PodSucceeded
	case isClosed(p.allEnded) && (allEnded || anyBegan):
		return corev1.PodFailed
	case anyBegan:
		return corev1.PodRunning
	}
	return corev1.PodPending
}
