package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// View is how a page is looked at.
type View struct {
	Width, Height int // in CSS pixels
	Dark          bool
	NoScript      bool // the page's own scripts do not run
}

// Page is an open tab.
type Page struct {
	b          *Browser
	session    string
	target     string
	complaints []string // guarded by the browser's lock
}

// Open opens a page and waits until it is loaded.
func (b *Browser) Open(ctx context.Context, url string, v View) (*Page, error) {
	p := &Page{b: b}
	var made struct {
		Target string `json:"targetId"`
	}
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &made); err != nil {
		return nil, err
	}
	p.target = made.Target
	var attached struct {
		Session string `json:"sessionId"`
	}
	if err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": p.target, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	p.session = attached.Session
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	colours := "light"
	if v.Dark {
		colours = "dark"
	}
	for _, c := range []struct {
		method string
		params map[string]any
	}{
		{"Log.enable", nil},
		{"Runtime.enable", nil},
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": false}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": colours}}}},
		{"Emulation.setScriptExecutionDisabled", map[string]any{"value": v.NoScript}},
		{"Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}}, // several tabs, each as if it were in front
		{"Page.navigate", map[string]any{"url": url}},
	} {
		if c.params == nil {
			c.params = map[string]any{}
		}
		if err := p.Call(ctx, c.method, c.params, nil); err != nil {
			return nil, err
		}
	}
	return p, p.Until(ctx, `document.readyState === "complete" && location.href !== "about:blank"`)
}

// Call sends a command of Chrome's DevTools protocol to the page.
func (p *Page) Call(ctx context.Context, method string, params, out any) error {
	return p.b.call(ctx, p.session, method, params, out)
}

// hear is called with the browser's lock held.
func (p *Page) hear(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown":
		p.complaints = append(p.complaints, string(m.Params))
	case "Log.entryAdded":
		var e struct {
			Entry struct {
				Level string `json:"level"`
				Text  string `json:"text"`
				URL   string `json:"url"`
			} `json:"entry"`
		}
		if json.Unmarshal(m.Params, &e) == nil && (e.Entry.Level == "error" || e.Entry.Level == "warning") {
			p.complaints = append(p.complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// Complaints are what the page could not load, what its policy forbade, and errors of its scripts.
func (p *Page) Complaints() []string {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return slices.Clone(p.complaints)
}

// Eval evaluates an expression in the page and decodes its value into out, which may be nil.
func (p *Page) Eval(ctx context.Context, expression string, out any) error {
	var answer struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	err := p.Call(ctx, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &answer)
	switch {
	case err != nil:
		return err
	case answer.Exception != nil:
		return fmt.Errorf("%s: %s %s", expression, answer.Exception.Text, answer.Exception.Exception.Description)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(answer.Result.Value, out); err != nil {
		return fmt.Errorf("%s: %w", expression, err)
	}
	return nil
}

// Until waits until an expression is true in the page.
func (p *Page) Until(ctx context.Context, expression string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var ok bool
		err := p.Eval(ctx, expression, &ok)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for %s: %w", expression, ctx.Err()), err)
		case <-tick.C: // while a page is loaded there may be nothing to ask
		}
	}
}

// Press presses and lets go of a key that has no character: Tab, Enter, ArrowRight.
func (p *Page) Press(ctx context.Context, key string) error {
	codes := map[string]int{"Tab": 9, "Enter": 13, "ArrowRight": 39}
	params := map[string]any{"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
	if key == "Enter" {
		params["text"] = "\r"
	}
	for _, kind := range []string{"keyDown", "keyUp"} {
		if kind == "keyDown" && key != "Enter" {
			kind = "rawKeyDown"
		}
		params["type"] = kind
		if err := p.Call(ctx, "Input.dispatchKeyEvent", params, nil); err != nil {
			return err
		}
	}
	return nil
}

// Picture is a PNG of what is shown.
func (p *Page) Picture(ctx context.Context) ([]byte, error) {
	var shot struct {
		Data []byte `json:"data"`
	}
	err := p.Call(ctx, "Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	return shot.Data, err
}

// Close closes the tab.
func (p *Page) Close(ctx context.Context) error {
	p.b.mu.Lock()
	delete(p.b.pages, p.session)
	p.b.mu.Unlock()
	return p.b.call(ctx, "", "Target.closeTarget", map[string]any{"targetId": p.target}, nil)
}
