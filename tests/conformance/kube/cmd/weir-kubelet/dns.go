// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log"
	"net"

	"github.com/miekg/dns"
)

// dnsMain is what runs for CoreDNS: it answers any question, over UDP and TCP, with one address.
func dnsMain() {
	dns.HandleFunc(".", func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		for _, question := range q.Question {
			h := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET, Ttl: 1}
			switch question.Qtype {
			case dns.TypeA:
				m.Answer = append(m.Answer, &dns.A{Hdr: h, A: net.IPv4(192, 0, 2, 1)})
			case dns.TypeAAAA:
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: h, AAAA: net.ParseIP("2001:db8::1")})
			}
		}
		if err := w.WriteMsg(m); err != nil {
			log.Print(err)
		}
	})
	ended := make(chan error)
	for _, network := range []string{"udp", "tcp"} {
		go func() { ended <- dns.ListenAndServe(":53", network, nil) }()
	}
	log.Fatal(<-ended)
}
