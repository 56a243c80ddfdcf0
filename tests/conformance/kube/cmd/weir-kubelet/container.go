// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// container is a program of a Pod, and what a kubelet says of it. The Pod's lock guards what changes.
type container struct {
	pod  *pod
	spec *corev1.Container
	logs *logBuffer

	state    corev1.ContainerState
	last     corev1.ContainerState
	restarts int32
	isReady  bool
	process  *os.Process // while it runs
}

const (
	firstBackoff = time.Second
	lastBackoff  = 30 * time.Second
)

func newContainer(p *pod, spec *corev1.Container) *container {
	c := &container{pod: p, spec: spec, logs: newLogBuffer()}
	c.state.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	return c
}

// run keeps the program running as the policy wants, and returns when it will not run again.
func (c *container) run(policy corev1.RestartPolicy) {
	backoff := firstBackoff
	for !c.pod.isStopping() {
		code, err := c.runOnce()
		if c.pod.isStopping() || policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure && code == 0 {
			return
		}
		if err != nil {
			c.setWaiting("RunContainerError", err.Error())
		} else {
			c.setWaiting("CrashLoopBackOff", fmt.Sprintf("back-off %v restarting failed container", backoff))
		}
		select {
		case <-c.pod.stopping:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, lastBackoff)
	}
}

// runOnce starts the program and waits for its end. It gives the exit status, or why there was no start.
func (c *container) runOnce() (int, error) {
	cmd, out, err := c.start()
	if err != nil {
		log.Printf("%s: %s: %v", c.pod.name(), c.spec.Name, err)
		return 128, err
	}
	read := make(chan struct{})
	go func() {
		c.logs.copyFrom(out)
		out.Close()
		close(read)
	}()
	probing := make(chan struct{})
	if c.spec.ReadinessProbe != nil {
		go c.probe(probing)
	}
	_ = cmd.Wait() // its state says how it ended
	close(probing)
	<-read
	return c.setEnded(cmd.ProcessState), nil
}

func (c *container) start() (*exec.Cmd, *os.File, error) {
	file, err := c.writeInside()
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, "inside", file)
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
	}
	err = c.pod.agent.network.start(c.pod.sandbox, cmd)
	in.Close()
	if err != nil {
		out.Close()
		return nil, nil, err
	}
	c.setRunning(cmd.Process)
	if c.pod.isStopping() {
		c.signal(syscall.SIGTERM) // stop() may have come before there was a process
	}
	return cmd, out, nil
}

func (c *container) writeInside() (string, error) {
	p := c.pod
	env, values, err := p.environment(c.spec)
	if err != nil {
		return "", err
	}
	prog, err := p.agent.programOf(c.spec, func(s string) string { return expand(s, values) })
	if err != nil {
		return "", err
	}
	in := inside{Root: filepath.Join(p.dir, "root-"+c.spec.Name), Program: prog.file, At: prog.name, Argv: prog.argv,
		Env: env, Dir: c.spec.WorkingDir, Hostname: p.obj.Name}
	if in.Dir == "" {
		in.Dir = "/"
	}
	for _, m := range c.spec.VolumeMounts {
		source := filepath.Join(p.volumeDir(m.Name), m.SubPath)
		if source, err = filepath.EvalSymlinks(source); err != nil {
			return "", err
		}
		in.Mounts = append(in.Mounts, mount{source, filepath.Clean(m.MountPath), m.ReadOnly})
	}
	if err := os.MkdirAll(in.Root, 0o755); err != nil {
		return "", err
	}
	text, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	file := filepath.Join(p.dir, c.spec.Name+".json")
	return file, os.WriteFile(file, text, 0o600)
}

// stop ends the program: its preStop hook, SIGTERM, and SIGKILL when the Pod's time is over.
func (c *container) stop() {
	if l := c.spec.Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
		select {
		case <-time.After(time.Duration(l.PreStop.Sleep.Seconds) * time.Second):
		case <-c.pod.killed:
		case <-c.pod.allEnded:
		}
	}
	c.signal(syscall.SIGTERM)
	select {
	case <-c.pod.graceOver():
	case <-c.pod.killed:
	case <-c.pod.allEnded:
		return
	}
	c.signal(syscall.SIGKILL)
}

func (c *container) signal(sig syscall.Signal) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.process != nil {
		_ = c.process.Signal(sig)
	}
}

func (c *container) setWaiting(reason, message string) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	c.isReady = false
	c.pod.isChanged()
}

// setRunning: a container without a readiness probe is ready when it runs.
func (c *container) setRunning(process *os.Process) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.last.Terminated != nil {
		c.restarts++
	}
	c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	c.process = process
	c.isReady = c.spec.ReadinessProbe == nil
	c.pod.isChanged()
}

func (c *container) setReady(isReady bool) {
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	if c.process != nil && c.isReady != isReady {
		c.isReady = isReady
		c.pod.isChanged()
	}
}

func (c *container) setEnded(how *os.ProcessState) int {
	code, reason := how.ExitCode(), "Completed"
	var sig int32
	if w, ok := how.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		sig = int32(w.Signal())
		code = 128 + int(sig)
	}
	if code != 0 {
		reason = "Error"
	}
	c.pod.mu.Lock()
	defer c.pod.mu.Unlock()
	c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), Signal: sig, Reason: reason,
		StartedAt: c.state.Running.StartedAt, FinishedAt: metav1.Now(), ContainerID: c.id()}}
	c.last = c.state
	c.process = nil
	c.isReady = false
	c.pod.isChanged()
	return code
}

func (c *container) id() string {
	return fmt.Sprintf("weir://%s-%s-%d", c.pod.obj.UID, c.spec.Name, c.restarts)
}

// status gives what the Pod's status says of it. The caller has the lock.
func (c *container) status() corev1.ContainerStatus {
	isRunning := c.state.Running != nil
	s := corev1.ContainerStatus{Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, State: c.state,
		Ready: c.isReady, RestartCount: c.restarts, Started: &isRunning}
	if c.state.Waiting == nil {
		s.ContainerID = c.id()
	}
	if c.state.Terminated == nil {
		s.LastTerminationState = c.last
	}
	return s
}
