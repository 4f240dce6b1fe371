package browser

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// other is the test in the browser's place, at the other ends of its pipes.
type other struct {
	t   *testing.T
	in  *bufio.Reader
	out *os.File
}

func pipes(t *testing.T) (*Browser, *other) {
	t.Helper()
	theirs, in, err := os.Pipe()
	require.NoError(t, err)
	out, says, err := os.Pipe()
	require.NoError(t, err)
	b := &Browser{waiting: make(map[int]chan message), pages: make(map[string]*Page), done: make(chan struct{}), out: in}
	go b.listen(out)
	t.Cleanup(func() {
		_ = says.Close()
		<-b.done
		_, _ = in.Close(), theirs.Close()
	})
	return b, &other{t: t, in: bufio.NewReader(theirs), out: says}
}

func (o *other) hears() (m message) {
	o.t.Helper()
	text, err := o.in.ReadBytes(0)
	require.NoError(o.t, err)
	require.NoError(o.t, json.Unmarshal(text[:len(text)-1], &m))
	return m
}

func (o *other) says(text string) {
	o.t.Helper()
	_, err := o.out.WriteString(text + "\x00")
	require.NoError(o.t, err)
}

// evaluated answers Runtime.evaluate.
func (o *other) evaluated(id int, value string) {
	o.t.Helper()
	text, err := json.Marshal(map[string]any{"id": id, "result": map[string]any{"result": map[string]any{"value": value}}})
	require.NoError(o.t, err)
	o.says(string(text))
}

// Several tests drive one browser, each a page of its own: an answer goes to whoever asked, in whatever order they come.
func TestAnswersGoToWhoAsked(t *testing.T) {
	b, chromium := pipes(t)
	type got struct {
		value string
		err   error
	}
	answers := map[string]chan got{"one": make(chan got, 1), "two": make(chan got, 1)}
	for session, answer := range answers {
		go func() {
			var g got
			g.err = (&Page{b: b, session: session}).Eval(t.Context(), "document.title", &g.value)
			answer <- g
		}()
	}
	first, second := chromium.hears(), chromium.hears()
	require.NotEqual(t, first.ID, second.ID)
	require.JSONEq(t, `{"expression":"document.title","returnByValue":true}`, string(first.Params))
	chromium.says("not JSON")
	chromium.says(`{"id":999,"result":{}}`) // nobody asked
	chromium.evaluated(second.ID, "of "+second.Session)
	chromium.evaluated(first.ID, "of "+first.Session)
	for session, answer := range answers {
		require.Equal(t, got{value: "of " + session}, <-answer)
	}
}

// What goes wrong on the way is said with what was asked for.
func TestFailuresAreTold(t *testing.T) {
	b, chromium := pipes(t)
	p := &Page{b: b, session: "one"}
	ask := func(answer string, says string) {
		t.Helper()
		failed := make(chan error, 1)
		go func() { failed <- p.Eval(t.Context(), "missing()", nil) }()
		m := chromium.hears()
		require.Equal(t, "Runtime.evaluate", m.Method)
		if answer == "" {
			require.NoError(t, chromium.out.Close())
		} else {
			text, err := json.Marshal(m.ID)
			require.NoError(t, err)
			chromium.says(`{"id":` + string(text) + `,` + answer + `}`)
		}
		require.EqualError(t, <-failed, says)
	}
	ask(`"error":{"message":"no such session"}`, "Runtime.evaluate: no such session")
	ask(`"result":{"result":{},"exceptionDetails":{"text":"Uncaught","exception":{"description":"ReferenceError"}}}`,
		"missing(): Uncaught ReferenceError")
	ask("", "Runtime.evaluate: the browser has ended")
}

// Errors, warnings and exceptions of a page are its own, and kept; the rest of what it says is nobody's business.
func TestComplaints(t *testing.T) {
	b, chromium := pipes(t)
	p, q := &Page{b: b, session: "one"}, &Page{b: b, session: "two"}
	b.pages["one"], b.pages["two"] = p, q
	for _, event := range []string{
		`{"sessionId":"one","method":"Log.entryAdded","params":{"entry":{"level":"error","text":"refused to load","url":"http://a/b.png"}}}`,
		`{"sessionId":"one","method":"Log.entryAdded","params":{"entry":{"level":"verbose","text":"hello"}}}`,
		`{"sessionId":"two","method":"Runtime.exceptionThrown","params":{"thrown":1}}`,
		`{"sessionId":"two","method":"Page.loadEventFired","params":{}}`,
		`{"sessionId":"gone","method":"Runtime.exceptionThrown","params":{}}`,
	} {
		chromium.says(event)
	}
	evaluated := make(chan error, 1)
	go func() { evaluated <- p.Eval(t.Context(), "1", nil) }()
	chromium.evaluated(chromium.hears().ID, "1") // what was said before it has been heard
	require.NoError(t, <-evaluated)
	require.Equal(t, []string{"refused to load http://a/b.png"}, p.Complaints())
	require.Equal(t, []string{`{"thrown":1}`}, q.Complaints())
}

// A program that ends at once is no browser: asking says so, and nothing of it is left.
func TestAProgramThatEnds(t *testing.T) {
	nothing, err := exec.LookPath("true")
	require.NoError(t, err)
	b, err := Start(nothing)
	require.NoError(t, err)
	require.DirExists(t, b.profile)
	_, err = b.Open(t.Context(), "about:blank", View{})
	require.ErrorContains(t, err, "Target.createTarget")
	require.NoError(t, b.Close())
	require.NoDirExists(t, b.profile)
	require.NotNil(t, b.cmd.ProcessState, "it was waited for")

	_, err = Start("/no/such/browser")
	require.ErrorContains(t, err, "start a browser")
}
