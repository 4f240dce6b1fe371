package handbook

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// Page is one Markdown file.
type Page struct {
	Path  string // relative to the root of the repository
	lines []string
}

// Pages reads every Markdown file under root, but for what is built or not ours to write.
func Pages(root string) (pages []*Page, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (d.Name() == "bin" || d.Name() == "dist" || d.Name() == "tmp" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		p, err := Read(root, rel)
		pages = append(pages, p)
		return err
	})
	return pages, err
}

// Read reads one page.
func Read(root, path string) (*Page, error) {
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return nil, fmt.Errorf("read a page: %w", err)
	}
	return &Page{Path: filepath.ToSlash(path), lines: strings.Split(string(b), "\n")}, nil
}

// Block is a fenced block.
type Block struct {
	Language string
	Notes    []string // HTML comments between the block before and this one
	Lines    []string
	First    int // the index of its first line in the page
}

var note = regexp.MustCompile(`^<!-- (.+) -->$`)

// Blocks returns the fenced blocks in order.
func (p *Page) Blocks() (blocks []Block) {
	var notes []string
	var open *Block
	for i, line := range p.lines {
		switch {
		case open != nil && strings.TrimSpace(line) == "```":
			blocks = append(blocks, *open)
			open, notes = nil, nil
		case open != nil:
			open.Lines = append(open.Lines, line)
		case strings.HasPrefix(line, "```"):
			open = &Block{Language: strings.TrimPrefix(line, "```"), Notes: notes, First: i + 1}
		case note.MatchString(line):
			notes = append(notes, note.FindStringSubmatch(line)[1])
		}
	}
	return blocks
}

// Replace writes the page with other lines in a block. The block's place must be as Blocks said.
func (p *Page) Replace(root string, b Block, lines []string) error {
	rest := append([]string(nil), p.lines[b.First+len(b.Lines):]...)
	p.lines = append(append(p.lines[:b.First:b.First], lines...), rest...)
	return os.WriteFile(filepath.Join(root, p.Path), []byte(strings.Join(p.lines, "\n")), 0o644)
}

// Text is the page without its fenced blocks, in lines.
func (p *Page) Text() (lines []string) {
	fenced := false
	for _, line := range p.lines {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			lines = append(lines, line)
		}
	}
	return lines
}

// Whole is all of the page.
func (p *Page) Whole() string { return strings.Join(p.lines, "\n") }

var codeSpan = regexp.MustCompile("`([^`]+)`")

// Spans returns the inline code, without its backticks.
func (p *Page) Spans() (spans []string) {
	for _, m := range codeSpan.FindAllStringSubmatch(strings.Join(p.Text(), "\n"), -1) {
		spans = append(spans, strings.ReplaceAll(m[1], "\n", " "))
	}
	return spans
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Links returns where the page's links lead to, as written.
func (p *Page) Links() (links []string) {
	text := codeSpan.ReplaceAllString(strings.Join(p.Text(), "\n"), "")
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		links = append(links, m[1])
	}
	return links
}

// Anchors returns what the page's headings can be linked to by, as GitHub makes it.
func (p *Page) Anchors() map[string]bool {
	anchors := make(map[string]bool)
	for _, line := range p.Text() {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		base := anchor(heading)
		name := base
		for n := 1; anchors[name]; n++ {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		anchors[name] = true
	}
	return anchors
}

func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.ReplaceAll(heading, "`", ""))
}
