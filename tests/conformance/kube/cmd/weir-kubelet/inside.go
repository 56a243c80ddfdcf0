// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// inside is what a container's program needs before it begins: written to a file by the agent, read by this program in
// the new namespaces of processes and mounts, which then becomes the container's program.
type inside struct {
	Root     string   // empty folder that becomes /
	Program  string   // file of the host that appears as ProgramAt; "" for none
	At       string   // such as /echo-basic
	Argv     []string // absolute path first
	Env      []string
	Dir      string
	Hostname string
	Mounts   []mount
}

type mount struct {
	Source, Target string
	ReadOnly       bool
}

// The kernel kills a process when its parent ends only if the thread that was told so is the one that executes the
// program: Linux keeps Pdeathsig per thread, and starts each other one without it. In init, the lock is on the first.
func init() {
	if len(os.Args) > 1 && os.Args[1] == "inside" {
		runtime.LockOSThread()
	}
}

func insideMain(file string) {
	var in inside
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err == nil {
		err = in.enter()
	}
	if err == nil {
		err = syscall.Exec(in.Argv[0], in.Argv, in.Env)
	}
	fmt.Fprintf(os.Stderr, "cannot start %s: %v\n", in.Argv, err)
	os.Exit(127)
}

// enter makes a root of the host's files, with the Pod's volumes in their places, and goes there. The host's own file
// system is not touched: where a volume's place does not exist, the folders above it are of a tmpfs, and hold all that
// the host's hold.
func (in *inside) enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("root", in.Root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	if err := in.fill("/"); err != nil {
		return err
	}
	if in.Program != "" {
		if err := bindFile(in.Program, in.Root+in.At, syscall.MS_RDONLY); err != nil {
			return err
		}
	}
	for _, m := range in.Mounts {
		if err := in.mountVolume(m); err != nil {
			return fmt.Errorf("volume at %s: %w", m.Target, err)
		}
	}
	if err := syscall.Mount("proc", in.Root+"/proc", "proc", 0, ""); err != nil {
		return err
	}
	if in.Hostname != "" {
		if err := syscall.Sethostname([]byte(in.Hostname)); err != nil {
			return err
		}
	}
	if err := syscall.Chroot(in.Root); err != nil {
		return err
	}
	return os.Chdir(in.Dir)
}

// fill makes a folder of the new root: each entry of the host's is bound, unless a volume has its place below it.
func (in *inside) fill(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		to := in.Root + path
		switch {
		case path == "/proc":
			err = os.Mkdir(to, 0o755)
		case e.Type()&os.ModeSymlink != 0:
			var target string
			if target, err = os.Readlink(path); err == nil {
				err = os.Symlink(target, to)
			}
		case e.IsDir() && in.isAbove(path):
			if err = os.Mkdir(to, 0o755); err == nil {
				err = in.fill(path)
			}
		case e.IsDir():
			if err = os.Mkdir(to, 0o755); err == nil {
				err = syscall.Mount(path, to, "", in.bindFlags(path), "")
			}
		case e.Type().IsRegular():
			err = bindFile(path, to, 0)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// isAbove: a volume's place, or the place's own folder, is below path.
func (in *inside) isAbove(path string) bool {
	for _, m := range in.Mounts {
		if strings.HasPrefix(m.Target, path+"/") {
			return true
		}
	}
	return false
}

// bindFlags: the new root must not be bound into itself.
func (in *inside) bindFlags(path string) uintptr {
	if strings.HasPrefix(in.Root, path+"/") {
		return syscall.MS_BIND
	}
	return syscall.MS_BIND | syscall.MS_REC
}

func (in *inside) mountVolume(m mount) error {
	to := in.Root + m.Target
	st, err := os.Stat(m.Source)
	if err != nil {
		return err
	}
	flags := uintptr(0)
	if m.ReadOnly {
		flags = syscall.MS_RDONLY
	}
	if !st.IsDir() { // of a subPath
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return bindFile(m.Source, to, flags)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return bind(m.Source, to, flags)
}

func bindFile(from, to string, flags uintptr) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	f.Close()
	return bind(from, to, flags)
}

func bind(from, to string, flags uintptr) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil || flags == 0 {
		return err
	}
	return syscall.Mount("", to, "", syscall.MS_BIND|syscall.MS_REMOUNT|flags, "")
}
