package monitor

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Expression is one in Prometheus' language.
type Expression struct {
	Where string // the alert, or the panel
	Text  string
}

// Rule is an alert or a recording rule.
type Rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Rules reads a file of rules.
func Rules(path string) (rules []Rule, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	var file struct {
		Groups []struct {
			Rules []Rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules, nil
}

// Panel is one of a dashboard of Grafana's.
type Panel struct {
	ID          int    `json:"id"`
	Title       string `json:"title"`
	Type        string `json:"type"`
	Description string `json:"description"`
	Grid        struct {
		X int `json:"x"`
		Y int `json:"y"`
		W int `json:"w"`
		H int `json:"h"`
	} `json:"gridPos"`
	Datasource struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	} `json:"datasource"`
	Targets []struct {
		Expr  string `json:"expr"`
		RefID string `json:"refId"`
	} `json:"targets"`
}

// Board is a dashboard of Grafana's, as far as the tests look.
type Board struct {
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []Panel `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
}

// Dashboard reads a dashboard.
func Dashboard(path string) (*Board, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the dashboard: %w", err)
	}
	var b Board
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &b, nil
}

// Expressions are those of all panels and annotations.
func (b *Board) Expressions() (all []Expression) {
	for _, p := range b.Panels {
		for _, t := range p.Targets {
			all = append(all, Expression{p.Title, t.Expr})
		}
	}
	for _, a := range b.Annotations.List {
		if a.Expr != "" {
			all = append(all, Expression{a.Name, a.Expr})
		}
	}
	return all
}

// Use is one place in which an expression names a metric of awa-counterd.
type Use struct {
	Metric string              // as the daemon calls it: without the _bucket, _sum or _count of a histogram
	Labels map[string][]string // what its selector asks for, by label: the values between the bars
}

var (
	metric  = regexp.MustCompile(`\b(awa_counterd_[a-z_]+)(?:\{([^}]*)\})?`)
	part    = regexp.MustCompile(`_(bucket|sum|count)$`)
	matcher = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"`)
)

// Uses lists what an expression names. What rules record (awa_counterd:…) is not the daemon's.
func Uses(expr string) (uses []Use) {
	for _, m := range metric.FindAllStringSubmatchIndex(expr, -1) {
		name := expr[m[2]:m[3]]
		if strings.HasSuffix(name, "_") { // the beginning of some other name, as in awa_counterd_SCHEMA
			continue
		}
		u := Use{Metric: part.ReplaceAllString(name, ""), Labels: make(map[string][]string)}
		if m[4] >= 0 {
			for _, l := range matcher.FindAllStringSubmatch(expr[m[4]:m[5]], -1) {
				u.Labels[l[1]] = append(u.Labels[l[1]], strings.Split(l[2], "|")...)
			}
		}
		uses = append(uses, u)
	}
	return uses
}
