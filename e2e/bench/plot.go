package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Two kinds of pictures, as SVG without fonts or scripts of its own, that can be read on a light and on a dark page.

const (
	picWidth   = 760
	picLeft    = 300 // where the labels of rows end
	picRight   = 24
	rowHeight  = 24
	plotTop    = 40
	plotHeight = 320
)

const style = `<style>
text { font: 12px sans-serif; fill: #24292f } .head { font-weight: bold; font-size: 14px }
.grid { stroke: #d0d7de; stroke-width: 1 } .mark { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 }
.tone0 { stroke: #0969da; fill: #0969da } .tone1 { stroke: #9a6700; fill: #9a6700 } .tone2 { stroke: #8250df; fill: #8250df }
.tone3 { stroke: #1a7f37; fill: #1a7f37 } .line { fill: none; stroke-width: 2 } .range { stroke-width: 2 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #30363d } .mark { stroke: #ff7b72 }
.tone0 { stroke: #58a6ff; fill: #58a6ff } .tone1 { stroke: #d29922; fill: #d29922 } .tone2 { stroke: #bc8cff; fill: #bc8cff }
.tone3 { stroke: #3fb950; fill: #3fb950 } }
</style>
`

// dots is a figure of many things, one a row, with its spread: the median as a dot on a line from lowest to highest.
type dots struct {
	title, axis string
	log         bool
	mark        float64 // a line there, what is compared with; 0 for none
	rows        []dot
}

type dot struct {
	label string
	at    spread
	tone  int
}

// add puts a row in, if there is anything to show.
func (d *dots) add(label string, at spread, tone int) {
	if at.n > 0 {
		d.rows = append(d.rows, dot{label, at, tone})
	}
}

func (d *dots) svg() string {
	if len(d.rows) == 0 {
		return ""
	}
	a := axis{log: d.log}
	if !d.log {
		a.take(0)
	}
	a.take(d.mark)
	for _, r := range d.rows {
		a.take(r.at.low)
		a.take(r.at.high)
	}
	a.settle(picLeft, picWidth-picRight)
	bottom := plotTop + rowHeight*len(d.rows)
	var b strings.Builder
	open(&b, d.title, bottom+44)
	for _, v := range a.ticks {
		x := a.at(v)
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, x, plotTop-6, bottom, x, bottom+16, number(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", picWidth-picRight, bottom+34, html.EscapeString(d.axis))
	if d.mark != 0 {
		fmt.Fprintf(&b, `<line class="mark" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", a.at(d.mark), a.at(d.mark), plotTop-6, bottom)
	}
	for i, r := range d.rows {
		y := plotTop + rowHeight*i + rowHeight/2
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><g class="tone%d"><line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><circle cx="%.1f" cy="%d" r="4"/></g>`+"\n",
			picLeft-12, y+4, html.EscapeString(r.label), r.tone%4, a.at(r.at.low), a.at(r.at.high), y, y, a.at(r.at.median), y)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// curves are lines over two logarithmic axes.
type curves struct {
	title, x, y string
	lines       []curve
}

type curve struct {
	label  string
	xs, ys []float64
	tone   int
	dashed bool
}

func (c *curves) svg() string {
	x, y := axis{log: true}, axis{log: true}
	for _, l := range c.lines {
		for i := range l.xs {
			x.take(l.xs[i])
			y.take(l.ys[i])
		}
	}
	if len(c.lines) == 0 || x.high == 0 || y.high == 0 {
		return ""
	}
	const left, bottom = 80, plotTop + plotHeight
	x.settle(left, picWidth-picRight)
	y.settle(bottom, plotTop)
	var b strings.Builder
	open(&b, c.title, bottom+52+18*len(c.lines))
	for _, v := range x.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(v), x.at(v), plotTop, bottom, x.at(v), bottom+16, number(v))
	}
	for _, v := range y.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, picWidth-picRight, y.at(v), y.at(v), left-8, y.at(v)+4, number(v))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><text x="8" y="%d">%s</text>`+"\n",
		picWidth-picRight, bottom+34, html.EscapeString(c.x), plotTop-8, html.EscapeString(c.y))
	for i, l := range c.lines {
		var points []string
		for j := range l.xs {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(l.xs[j]), y.at(l.ys[j])))
		}
		dash := ""
		if l.dashed {
			dash = ` stroke-dasharray="6 4"`
		}
		at := bottom + 52 + 18*i
		fmt.Fprintf(&b, `<g class="tone%d"><polyline class="line"%s points="%s"/><line class="range"%s x1="%d" x2="%d" y1="%d" y2="%d"/></g><text x="%d" y="%d">%s</text>`+"\n",
			l.tone%4, dash, strings.Join(points, " "), dash, left, left+28, at, at, left+36, at+4, html.EscapeString(l.label))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func open(b *strings.Builder, title string, height int) {
	fmt.Fprintf(b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", picWidth, height, html.EscapeString(title))
	b.WriteString(style)
	fmt.Fprintf(b, `<text class="head" x="8" y="20">%s</text>`+"\n", html.EscapeString(title))
}

// axis maps values to a stretch of the picture.
type axis struct {
	log       bool
	low, high float64
	some      bool
	from, to  float64
	ticks     []float64
}

// take widens the axis; a logarithmic one knows nothing of 0.
func (a *axis) take(v float64) {
	if math.IsNaN(v) || (a.log && v <= 0) {
		return
	}
	if !a.some {
		a.low, a.high, a.some = v, v, true
	}
	a.low, a.high = min(a.low, v), max(a.high, v)
}

func (a *axis) settle(from, to float64) {
	a.from, a.to = from, to
	if !a.some {
		a.high = 1
	}
	if a.log {
		first, last := math.Floor(math.Log10(a.low)), math.Ceil(math.Log10(a.high))
		last = max(last, first+1)
		a.low, a.high = math.Pow(10, first), math.Pow(10, last)
		for e := first; e <= last; e++ {
			a.ticks = append(a.ticks, math.Pow(10, e))
		}
		return
	}
	if a.high == a.low {
		a.high = a.low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((a.high-a.low)/4)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (a.high-a.low)/(f*step) <= 6 {
			step *= f
			break
		}
	}
	a.low, a.high = math.Floor(a.low/step)*step, math.Ceil(a.high/step)*step
	for i := 0.0; a.low+i*step <= a.high+step/2; i++ {
		a.ticks = append(a.ticks, a.low+i*step)
	}
}

func (a *axis) at(v float64) float64 {
	share := (v - a.low) / (a.high - a.low)
	if a.log {
		share = (math.Log10(max(v, a.low)) - math.Log10(a.low)) / (math.Log10(a.high) - math.Log10(a.low))
	}
	return a.from + share*(a.to-a.from)
}
