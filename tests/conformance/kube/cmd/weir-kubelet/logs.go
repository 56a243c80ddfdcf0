// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"sync"
	"time"
)

// logBuffer holds the last lines that a container wrote, each with its time.
type logBuffer struct {
	mu    sync.Mutex
	lines []logLine
	first int // number of lines[0] since the beginning
	bytes int
}

type logLine struct {
	at   time.Time
	text string // with its newline
}

const maxLogBytes = 4 << 20

func newLogBuffer() *logBuffer { return &logBuffer{} }

// copyFrom reads lines until the end of r.
func (b *logBuffer) copyFrom(r io.Reader) {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		text, err := br.ReadString('\n')
		if text != "" {
			b.add(logLine{time.Now(), text})
		}
		if err != nil {
			return
		}
	}
}

func (b *logBuffer) add(l logLine) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, l)
	b.bytes += len(l.text)
	for b.bytes > maxLogBytes {
		b.bytes -= len(b.lines[0].text)
		b.lines = b.lines[1:]
		b.first++
	}
}

// from gives the lines from number n on, and the number of the next.
func (b *logBuffer) from(n int) ([]logLine, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next := b.first + len(b.lines)
	n = max(n, b.first)
	return append([]logLine{}, b.lines[n-b.first:]...), next
}
