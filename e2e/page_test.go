package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/awa-counterd/awa-counterd/e2e/browser"
	"github.com/awa-counterd/awa-counterd/e2e/fleet"
)

// chromium starts a browser for a test; where there is none, the test says so and is skipped.
func chromium(t *testing.T) *browser.Browser {
	t.Helper()
	program, err := browser.Find()
	if err != nil {
		t.Skip(err)
	}
	b, err := browser.Start(program)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// tab is a page that a test looks at.
type tab struct {
	*browser.Page
	t *testing.T
}

func visit(t *testing.T, b *browser.Browser, url string, v browser.View) *tab {
	t.Helper()
	ctx, cancel := contextWithin(20 * time.Second)
	defer cancel()
	p, err := b.Open(ctx, url, v)
	require.NoError(t, err)
	return &tab{p, t}
}

func (p *tab) until(expression string, within time.Duration) {
	p.t.Helper()
	ctx, cancel := contextWithin(within)
	defer cancel()
	if err := p.Until(ctx, expression); err != nil {
		var shown string
		_ = p.Eval(context.Background(), `document.body.innerText`, &shown)
		require.NoError(p.t, err, shown)
	}
}

func (p *tab) eval(expression string, out any) {
	p.t.Helper()
	require.NoError(p.t, p.Eval(p.t.Context(), expression, out))
}

func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		require.NoError(p.t, p.Press(p.t.Context(), key))
	}
}

// says is an expression: the state, in capitals, is shown.
func says(state string) string {
	return `document.querySelector("#state h1").innerText === "` + state + `" && document.title.startsWith("` + state + `")`
}

// atOnce is an expression: the state, why and what to do are on the screen without scrolling.
const atOnce = `[...document.querySelectorAll("#state h1, #state p")].slice(0, 3).every(e => {
	const r = e.getBoundingClientRect();
	return e.innerText !== "" && r.top >= 0 && r.bottom <= innerHeight && r.left >= 0 && r.right <= innerWidth && r.height > 0;
})`

// cutOff is an expression: the headings and sentences that do not fit the screen's width.
const cutOff = `[...document.querySelectorAll("h1, h2, main p, caption")].filter(e => !e.closest(".sr") && e.getBoundingClientRect().right > innerWidth).map(e => e.innerText)`

// contrast is an expression: the least contrast of the texts to what is behind them, as WCAG counts it.
const contrast = `(() => {
	const light = c => { const [r, g, b] = c.match(/[\d.]+/g).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (c !== "rgba(0, 0, 0, 0)") return c; } return "rgb(255, 255, 255)"; };
	return Math.min(...[...document.querySelectorAll("h1, h2, p, th, td, dt, dd, a, span")].filter(e => e.innerText && e.checkVisibility()).map(e => {
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
		return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
	}));
})()`

// What the person on call sees in a browser: trusted, then not and what to do, then again, without a hand on it; on a wide screen
// and a telephone's, in light and dark, without JavaScript, with nothing but the keyboard; and that a page whose daemon has died is old.
func TestPageInChromium(t *testing.T) {
	b := chromium(t)
	e := newEnv(t, fleet.Layout{Slots: 4})
	e.insertAt(1, "email", 5, false)
	d, w := e.listens()
	w.becomes(true, "leading", 15*time.Second)
	e.insertAt(1, "email", 5, false)
	first := visit(t, b, w.base, browser.View{Width: 1280, Height: 800})
	narrow := visit(t, b, w.base, browser.View{Width: 320, Height: 800, Dark: true})
	plain := visit(t, b, w.base, browser.View{Width: 1280, Height: 800, NoScript: true})
	all := map[string]*tab{"wide": first, "narrow, dark": narrow, "no JavaScript": plain}

	look := func(state string, words ...string) {
		t.Helper()
		for name, p := range all {
			p.until(says(state), 20*time.Second)
			var ok bool
			p.eval(atOnce, &ok)
			require.True(t, ok, "%s: one has to scroll for the state", name)
			var text string
			p.eval(`document.getElementById("state").innerText`, &text)
			for _, word := range words {
				require.Contains(t, text, word, name)
			}
			var least float64
			p.eval(contrast, &least)
			require.GreaterOrEqual(t, least, 4.5, "%s: contrast", name)
			var cut []string
			p.eval(cutOff, &cut)
			require.Empty(t, cut, "%s: one has to scroll sideways for a heading", name)
			var wider bool
			p.eval(`document.documentElement.scrollWidth > innerWidth`, &wider)
			require.False(t, wider, "%s: the page as a whole has to be scrolled sideways", name)
			if dir := os.Getenv("AWACD_PICTURES"); dir != "" {
				shot, err := p.Picture(t.Context())
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(dir, strings.ReplaceAll(state+"-"+name, " ", "_")+".png"), shot, 0o600))
			}
		}
	}
	look("TRUSTED", "Do now: Nothing")
	first.eval(`void (window.untouched = true)`, nil)

	holder, err := e.pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = holder.Rollback(context.Background()) })
	_, err = holder.Exec(t.Context(), `lock table awa.queue_terminal_live_counts in share mode`)
	require.NoError(t, err)
	e.insertAt(1, "email", 7, false)
	w.becomes(false, "leading", 10*time.Second)
	look("NOT TRUSTED", "Do now:")
	first.until(`document.getElementById("spoken").textContent.startsWith("Not trusted")`, time.Second)
	require.NoError(t, holder.Rollback(t.Context()))
	w.becomes(true, "leading", 20*time.Second)
	look("TRUSTED", "Do now: Nothing")
	first.until(`window.untouched === true`, time.Second)           // it was never loaded again
	for p, want := range map[*tab]bool{first: false, plain: true} { // what is in noscript is there for whom it is
		var there bool
		p.eval(`document.querySelector("noscript meta") !== null`, &there)
		require.Equal(t, want, there)
	}

	t.Run("keyboard", func(t *testing.T) { keyboard(t, &tab{narrow.Page, t}, w.base) })
	t.Run("screen reader", func(t *testing.T) { heard(t, &tab{first.Page, t}) })

	for name, p := range all {
		var elsewhere []string
		p.eval(`performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith(location.origin + "/"))`, &elsewhere)
		require.Empty(t, elsewhere, "%s: loaded from elsewhere", name)
		require.Empty(t, p.Complaints(), name)
	}
	d.kill()
	first.until(`!document.getElementById("stale").hidden && document.getElementById("stale").innerText.startsWith("No answer since")`, 20*time.Second)
	first.until(`document.title.startsWith("NO ANSWER")`, time.Second)
}

// keyboard goes through everything that can be reached with Tab: each shows that it is, what is wide can be scrolled, and links work.
func keyboard(t *testing.T, p *tab, base string) {
	t.Helper()
	require.NoError(t, p.Call(t.Context(), "Page.bringToFront", struct{}{}, nil))
	p.eval(`scrollTo(0, 0)`, nil)
	var reached []string
	for range 12 {
		p.press("Tab")
		var at struct {
			Name    string `json:"name"`
			Outline string `json:"outline"`
			Seen    bool   `json:"seen"`
		}
		p.eval(`(() => { const e = document.activeElement, s = getComputedStyle(e), r = e.getBoundingClientRect();
			return {name: e.getAttribute("aria-label") || e.getAttribute("href") || "", outline: s.outlineStyle + " " + s.outlineWidth, seen: r.bottom > 0 && r.top < innerHeight}; })()`, &at)
		if at.Name == "" || len(reached) > 0 && at.Name == reached[0] { // through, and back at the beginning
			break
		}
		require.Equal(t, "solid 3px", at.Outline, at.Name)
		require.True(t, at.Seen, at.Name)
		reached = append(reached, at.Name)
		if at.Name == "Queues" {
			p.press("ArrowRight", "ArrowRight")
			p.until(`document.activeElement.scrollLeft > 0`, 5*time.Second)
		}
	}
	require.Equal(t, []string{"Queues", "Trust marker, looking back", "/status.json", "/metrics", "/readyz", "/healthz"}, reached)
	p.eval(`document.querySelector('a[href="/readyz"]').focus()`, nil)
	p.press("Enter")
	p.until(`location.href === "`+base+`readyz" && document.body.innerText.includes('"ready": true')`, 10*time.Second)
}

// heard looks at what a screen reader is given.
func heard(t *testing.T, p *tab) {
	t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored bool `json:"ignored"`
			Role    struct {
				Value string `json:"value"`
			} `json:"role"`
			Name struct {
				Value string `json:"value"`
			} `json:"name"`
		} `json:"nodes"`
	}
	require.NoError(t, p.Call(t.Context(), "Accessibility.getFullAXTree", struct{}{}, &tree))
	names := make(map[string][]string)
	for _, n := range tree.Nodes {
		if !n.Ignored {
			names[n.Role.Value] = append(names[n.Role.Value], n.Name.Value)
		}
	}
	require.Subset(t, names["heading"], []string{"TRUSTED", "Lag", "Drift", "More"})
	require.Subset(t, names["region"], []string{"Trust", "Queues", "Trust marker, looking back"})
	require.Len(t, names["status"], 1)
	require.Len(t, names["table"], 2)
	require.NotEmpty(t, names["image"])
	for _, role := range []string{"image", "link", "table", "heading", "region"} {
		require.NotContains(t, names[role], "", "a %s has no name", role)
	}
}
