package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// ErrNone says that there is no browser on this machine.
var ErrNone = errors.New("no Chromium on this machine (looked for chromium, chromium-browser, google-chrome)")

// Find returns the program; ErrNone when there is none.
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// Browser is a running Chromium with a profile of its own.
type Browser struct {
	cmd     *exec.Cmd
	profile string
	out     io.WriteCloser

	mu      sync.Mutex
	number  int
	waiting map[int]chan message
	pages   map[string]*Page // by session
	done    chan struct{}    // closed when it says nothing any more
}

// message is what both sides send: a command, an answer to it, or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a program that Find found.
func Start(program string) (*Browser, error) {
	profile, err := os.MkdirTemp("", "awacd-browser")
	if err != nil {
		return nil, fmt.Errorf("start a browser: %w", err)
	}
	b := &Browser{profile: profile, waiting: make(map[int]chan message), pages: make(map[string]*Page), done: make(chan struct{})}
	if err := b.start(program); err != nil {
		return nil, errors.Join(fmt.Errorf("start a browser: %w", err), os.RemoveAll(profile))
	}
	return b, nil
}

func (b *Browser) start(program string) error {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return err
	}
	b.cmd = exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--disable-background-networking", "--user-data-dir="+b.profile, "--remote-debugging-pipe", "about:blank")
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as it expects
	err = b.cmd.Start()
	_, _ = theirIn.Close(), theirOut.Close()
	if err != nil {
		_, _ = in.Close(), out.Close()
		return err
	}
	b.out = in
	go b.listen(out)
	return nil
}

// listen hands out what the browser says: messages that end with a zero byte.
func (b *Browser) listen(in *os.File) {
	defer close(b.done)
	defer func() { _ = in.Close() }()
	for r := bufio.NewReader(in); ; {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[m.ID]; m.ID != 0 && c != nil {
			delete(b.waiting, m.ID)
			c <- m
		} else if p := b.pages[m.Session]; p != nil {
			p.hear(m)
		}
		b.mu.Unlock()
	}
}

// call sends a command and waits for its answer; out may be nil.
func (b *Browser) call(ctx context.Context, session, method string, params, out any) error {
	text, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	b.number++
	m := message{ID: b.number, Session: session, Method: method, Params: text}
	b.waiting[m.ID] = answer
	if text, err = json.Marshal(m); err == nil {
		_, err = b.out.Write(append(text, 0))
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m = <-answer:
	case <-b.done:
		return fmt.Errorf("%s: the browser has ended", method)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	}
	if m.Error != nil {
		return fmt.Errorf("%s: %s", method, m.Error.Message)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(m.Result, out); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// Close ends the browser, by force if it does not go, and removes its profile.
func (b *Browser) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := b.call(ctx, "", "Browser.close", struct{}{}, nil); err != nil {
		_ = b.cmd.Process.Kill()
	}
	gone := time.AfterFunc(10*time.Second, func() { _ = b.cmd.Process.Kill() })
	defer gone.Stop()
	_ = b.cmd.Wait() // how it ended is of no interest
	_ = b.out.Close()
	return os.RemoveAll(b.profile)
}
