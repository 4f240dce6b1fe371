package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// figure is one that was measured: what, of whom, under which circumstances.
type figure struct {
	Case  string  `json:"case,omitempty"`
	Who   string  `json:"who"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
}

// roundResult is what one round measured.
type roundResult struct {
	At      time.Time `json:"at"`
	Took    float64   `json:"took"` // seconds
	Load    float64   `json:"load"` // the machine's load average over a minute when it began: what else ran
	Figures []figure  `json:"figures"`
}

// note adds a figure to the round. What is no number was not measured.
func (p *roundResult) note(circumstance, who, what string, value float64) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return
	}
	p.Figures = append(p.Figures, figure{circumstance, who, what, value})
}

// origin is what rounds of a part must have in common. Parts may be of several machines: what counts is a ratio within a round.
type origin struct {
	Binary  string  `json:"binary"` // a hash of the daemon's
	Commit  string  `json:"commit"`
	Server  string  `json:"server"`
	Go      string  `json:"go"`
	Machine string  `json:"machine"`
	Scale   float64 `json:"scale"` // 1 is the real size
	Options string  `json:"options,omitempty"`
}

// measures reports that it is of what is to be measured now, be it on another machine, or by the program of another commit.
func (o origin) measures(now origin) bool {
	return o.Binary == now.Binary && o.Scale == now.Scale && o.Options == now.Options
}

// taken is all that is kept of a part.
type taken struct {
	Part   string        `json:"part"`
	Origin origin        `json:"origin"`
	Rounds []roundResult `json:"rounds"`
}

// recall reads what is kept of a part; nothing if there is nothing.
func recall(dir, part string) (*taken, error) {
	b, err := os.ReadFile(keptIn(dir, part))
	if errors.Is(err, fs.ErrNotExist) {
		return &taken{Part: part}, nil
	}
	if err != nil {
		return nil, err
	}
	t := &taken{}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("%s: %w (delete it to measure again)", keptIn(dir, part), err)
	}
	return t, nil
}

func keptIn(dir, part string) string { return filepath.Join(dir, part+".json") }

// keep writes it in one step: a run that is broken off leaves what was kept before.
func (t *taken) keep(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(t, "", "\t")
	if err != nil {
		return err
	}
	fresh := keptIn(dir, t.Part) + ".new"
	if err := os.WriteFile(fresh, b, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, keptIn(dir, t.Part))
}

// values of a figure, one a round; NaN where a round lacks it.
func (t *taken) values(circumstance, who, what string) []float64 {
	out := make([]float64, len(t.Rounds))
	for i, r := range t.Rounds {
		out[i] = math.NaN()
		for _, f := range r.Figures {
			if f.Case == circumstance && f.Who == who && f.What == what {
				out[i] = f.Value
			}
		}
	}
	return out
}

func (t *taken) spread(circumstance, who, what string) spread {
	return over(t.values(circumstance, who, what))
}

// ratio of one's figure to the peer's, within each round.
func (t *taken) ratio(circumstance, who, peer, what string) spread {
	return over(ratios(t.values(circumstance, who, what), t.values(circumstance, peer, what)))
}

// cases lists the circumstances in the order in which they were first noted.
func (t *taken) cases() (all []string) {
	seen := make(map[string]bool)
	for _, r := range t.Rounds {
		for _, f := range r.Figures {
			if !seen[f.Case] && !strings.HasPrefix(f.What, shareOf) {
				seen[f.Case] = true
				all = append(all, f.Case)
			}
		}
	}
	return all
}

// busiest is the highest load average that a round began with.
func (t *taken) busiest() (load float64) {
	for _, r := range t.Rounds {
		load = max(load, r.Load)
	}
	return load
}

// hash of a file, shortened.
func hash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// loadAverage is that of the last minute; 0 where it cannot be read.
func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return v
}
