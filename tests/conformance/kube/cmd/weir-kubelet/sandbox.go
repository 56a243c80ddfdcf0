// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// network makes the Pods' network namespaces. They have no name: each is held by a descriptor of this process, so that
// none is left behind. One thread, which never ends, makes them and starts programs in them: a program's parent is that
// thread, and the program is killed when its parent ends.
type network struct {
	bridge       netlink.Link
	pods4, pods6 netip.Prefix // gateway and prefix
	home         netns.NsHandle
	work         chan func()

	mu   sync.Mutex
	next uint32 // number of the next Pod: the host part of its addresses
}

// sandbox is the network namespace of a Pod.
type sandbox struct {
	ns       netns.NsHandle
	link     string // the host's end of its veth pair
	ip4, ip6 netip.Addr
}

const firstPod = 16

func newNetwork(bridge string, pods4, pods6 netip.Prefix) (*network, error) {
	link, err := netlink.LinkByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", bridge, err)
	}
	n := &network{bridge: link, pods4: pods4, pods6: pods6, work: make(chan func()), next: firstPod}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		n.home, err = netns.Get()
		started <- err
		for fn := range n.work {
			fn()
		}
	}()
	return n, <-started
}

// onThread runs fn on the thread of namespaces.
func (n *network) onThread(fn func() error) error {
	done := make(chan error)
	n.work <- func() { done <- fn() }
	return <-done
}

// addresses gives the next pair that nobody has had for a long time.
func (n *network) addresses() (ip4, ip6 netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	host := n.next
	n.next++
	if n.next >= 1<<(32-n.pods4.Bits())-2 {
		n.next = firstPod
	}
	b4 := n.pods4.Masked().Addr().As4()
	b6 := n.pods6.Masked().Addr().As16()
	for i := range 4 {
		b4[3-i] |= byte(host >> (8 * i))
		b6[15-i] |= byte(host >> (8 * i))
	}
	return netip.AddrFrom4(b4), netip.AddrFrom16(b6)
}

// create makes a namespace with a veth pair to the bridge, addresses and default routes.
func (n *network) create() (*sandbox, error) {
	s := &sandbox{}
	s.ip4, s.ip6 = n.addresses()
	b := s.ip4.As4()
	s.link = fmt.Sprintf("pod%d.%d", b[2], b[3])
	err := n.onThread(func() (err error) {
		if s.ns, err = netns.New(); err != nil {
			return err
		}
		return netns.Set(n.home)
	})
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	if err := n.connect(s); err != nil {
		n.destroy(s)
		return nil, err
	}
	return s, nil
}

func (n *network) connect(s *sandbox) error {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: s.link, MasterIndex: n.bridge.Attrs().Index},
		PeerName: "eth0", PeerNamespace: netlink.NsFd(int(s.ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth %s: %w", s.link, err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return err
	}
	h, err := netlink.NewHandleAt(s.ns)
	if err != nil {
		return err
	}
	defer h.Close()
	for _, name := range []string{"lo", "eth0"} {
		link, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		if err := h.LinkSetUp(link); err != nil {
			return err
		}
		if name == "lo" {
			continue
		}
		for _, a := range []struct {
			ip   netip.Addr
			pods netip.Prefix
		}{{s.ip4, n.pods4}, {s.ip6, n.pods6}} {
			addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.ip.AsSlice(), Mask: net.CIDRMask(a.pods.Bits(), a.ip.BitLen())}}
			if a.ip.Is6() {
				addr.Flags = unix.IFA_F_NODAD
			}
			if err := h.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("address %s: %w", a.ip, err)
			}
			route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: a.pods.Addr().AsSlice()}
			if err := h.RouteAdd(route); err != nil {
				return fmt.Errorf("route by %s: %w", a.pods.Addr(), err)
			}
		}
	}
	return nil
}

// start starts a program in the namespace.
func (n *network) start(s *sandbox, cmd *exec.Cmd) error {
	return n.onThread(func() error {
		if err := netns.Set(s.ns); err != nil {
			return err
		}
		err := cmd.Start()
		if back := netns.Set(n.home); back != nil {
			panic(back) // this thread would do everything in the wrong place
		}
		return err
	})
}

func (n *network) destroy(s *sandbox) {
	if link, err := netlink.LinkByName(s.link); err == nil {
		_ = netlink.LinkDel(link)
	}
	_ = s.ns.Close()
}
