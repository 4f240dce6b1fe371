package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What CycloneDX 1.5 looks like, as far as it is needed here.
type (
	bom struct {
		Schema      string      `json:"$schema"`
		Format      string      `json:"bomFormat"`
		SpecVersion string      `json:"specVersion"`
		Serial      string      `json:"serialNumber"`
		Version     int         `json:"version"`
		Metadata    metadata    `json:"metadata"`
		Components  []component `json:"components"`
	}
	metadata struct {
		Timestamp  string     `json:"timestamp"`
		Component  component  `json:"component"`
		Properties []property `json:"properties"`
	}
	component struct {
		Ref        string     `json:"bom-ref"`
		Type       string     `json:"type"`
		Name       string     `json:"name"`
		Version    string     `json:"version"`
		Scope      string     `json:"scope,omitempty"`
		Hashes     []sum      `json:"hashes,omitempty"`
		PURL       string     `json:"purl"`
		Properties []property `json:"properties,omitempty"`
	}
	sum struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// bill writes what the binary is made of: every module with its version and its go.sum, and Go itself, without whose version no hole
// in the standard library is found.
func (r *release) bill(file string, p platform, binary string, made *parts) error {
	body, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(body)
	ours := purl(made.module, r.version)
	b := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.5.schema.json", Format: "CycloneDX", SpecVersion: "1.5", Version: 1,
		Serial: "urn:uuid:" + uuid(digest),
		Metadata: metadata{
			Timestamp: r.stamp.Format(time.RFC3339),
			Component: component{
				Ref: ours, Type: "application", Name: "awa-counterd", Version: r.version, PURL: ours,
				Hashes: []sum{{"SHA-256", fmt.Sprintf("%x", digest)}},
			},
			Properties: []property{{"awa-counterd:commit", r.commit}, {"awa-counterd:platform", p.os + "/" + p.arch}},
		},
	}
	add := func(c component) {
		c.Ref, c.Type, c.Scope = c.PURL, "library", "required"
		b.Components = append(b.Components, c)
	}
	version := strings.TrimPrefix(made.goes, "go")
	add(component{Name: "stdlib", Version: version, PURL: "pkg:golang/stdlib@" + version})
	for _, m := range made.modules {
		add(component{Name: m.path, Version: m.version, PURL: purl(m.path, m.version), Properties: []property{{"go:sum", m.sum}}})
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(file), err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // everybody may read it
}

// purl is a package URL: https://github.com/package-url/purl-spec.
func purl(module, version string) string {
	return "pkg:golang/" + strings.ToLower(module) + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// uuid is made of the binary's hash (version 8 of RFC 9562: what is in it is left to whoever makes it), so that the same binary has the same bill.
func uuid(digest [sha256.Size]byte) string {
	u := digest[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
