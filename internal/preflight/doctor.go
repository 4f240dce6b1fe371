package preflight

import "context"

// Verdict of a check.
type Verdict string

// The verdicts. A check that could not look says nothing about what it looks at.
const (
	Passed    Verdict = "ok"
	Failed    Verdict = "wanting" // does not work, or soon will not
	Unchecked Verdict = "could not look"
)

// Check is a finding as doctor prints it.
type Check struct {
	Name    string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Detail  string  `json:"detail,omitempty"` // what was found
	Remedy  string  `json:"remedy,omitempty"` // the statement or setting that mends it
}

// Doctor looks at all requirements. It goes on as far as it can when one is not met.
func Doctor(ctx context.Context, t Target) ([]Check, error) {
	v, err := newVisit(ctx, t)
	if err != nil {
		return nil, err
	}
	var out []Check
	for _, r := range Requirements() {
		if r.tables && v.Layout == nil {
			continue
		}
		for _, f := range r.look(ctx, v) {
			out = append(out, f.check())
		}
	}
	return out, nil
}

func (f Finding) check() Check {
	switch {
	case f.Err != nil:
		return Check{Name: f.Name, Verdict: Unchecked, Detail: f.Err.Error()}
	case f.Met:
		return Check{Name: f.Name, Verdict: Passed, Detail: f.Detail}
	}
	return Check{Name: f.Name, Verdict: Failed, Detail: f.Detail, Remedy: f.Remedy}
}
