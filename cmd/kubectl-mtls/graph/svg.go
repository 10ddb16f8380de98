package graph

// A picture that needs no other program, nor anything from elsewhere. Each domain is a band:
// its clients on the left, its CA in the middle, its servers on the right. Links between
// domains are arcs between their CAs; below stands what cannot talk, and why.

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// Sizes in pixels. Text is of 13 pixels, of which a character takes about 7.
const (
	svgMargin   = 24
	svgBox      = 260
	svgGap      = 150
	svgHub      = 240
	svgLine     = 18
	svgPad      = 10
	svgHead     = 58
	svgBetween  = 14
	svgArcs     = 40
	svgFits     = 36
	svgBoxLines = 2
)

const svgWidth = 2*svgMargin + 2*svgPad + 2*svgBox + 2*svgGap + svgHub

const svgStyle = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2933}
.head{font-weight:600;font-size:14px}.small{fill:#616e7c;font-size:12px}
.band{fill:#f5f7fa;stroke:#cbd2d9}.box{fill:#fff;stroke:#7b8794}.hub{fill:#e3f2fd;stroke:#1976d2}
.yes{stroke:#2e7d32;fill:none;stroke-width:1.5}.no{stroke:#c62828;fill:none;stroke-width:1.5;stroke-dasharray:6 4}
.unknown{stroke:#757575;fill:none;stroke-width:1.5;stroke-dasharray:2 4}
.blocked{stroke:#c62828;fill:#ffebee}.bad{fill:#c62828}
</style>
<defs>
<marker id="yes" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#2e7d32"/></marker>
<marker id="no" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" orient="auto"><path d="M1 1L7 7M1 7L7 1" stroke="#c62828" stroke-width="1.5"/></marker>
<marker id="unknown" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#757575"/></marker>
</defs>
`

// canvas collects what is drawn.
type canvas struct{ bytes.Buffer }

func (c *canvas) rect(class string, x, y, width, height int) {
	fmt.Fprintf(c, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`+"\n", class, x, y, width, height)
}

func (c *canvas) text(class string, x, y int, text string) {
	fmt.Fprintf(c, `<text class="%s" x="%d" y="%d">`, class, x, y)
	_ = xml.EscapeText(c, []byte(text)) // into memory
	fmt.Fprintln(c, "</text>")
}

func (c *canvas) path(verdict Verdict, path string) {
	class := classOf(verdict)
	fmt.Fprintf(c, `<path class="%s" marker-end="url(#%[1]s)" d="%s"/>`+"\n", class, path)
}

func classOf(verdict Verdict) string {
	switch verdict {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// fit shortens a text to what a box holds.
func fit(text string, characters int) string {
	if r := []rune(text); len(r) > characters {
		return string(r[:characters-1]) + "…"
	}
	return text
}

// band is where a domain is drawn.
type band struct {
	*Domain

	top, height      int
	clients, servers []*Node
}

func (b *band) middle() int { return b.top + svgHead + (b.height-svgHead-svgPad)/2 }

// bands places the domains one below the other.
func (g *Graph) bands() ([]*band, int) {
	var all []*band
	y := svgMargin + svgHead
	for _, d := range g.Domains {
		b := &band{Domain: d, top: y}
		for _, n := range d.Workloads {
			if n.Calls() {
				b.clients = append(b.clients, n)
			}
			if n.Serves() {
				b.servers = append(b.servers, n)
			}
		}
		b.height = svgHead + max(columnHeight(b.clients), columnHeight(b.servers), boxHeight(svgBoxLines)) + svgPad
		y += b.height + svgBetween
		all = append(all, b)
	}
	return all, y
}

func boxHeight(lines int) int { return lines*svgLine + svgPad }

func nodeHeight(n *Node) int { return boxHeight(svgBoxLines + len(n.Blocked)) }

func columnHeight(nodes []*Node) int {
	height := 0
	for _, n := range nodes {
		height += nodeHeight(n) + svgPad
	}
	return max(height-svgPad, 0)
}

func (g *Graph) svg(out *bytes.Buffer) {
	c := &canvas{}
	bands, y := g.bands()
	c.text("head", svgMargin, svgMargin+14, "Who can talk to whom with mutual TLS")
	c.text("small", svgMargin, svgMargin+34, "clients on the left, servers on the right, the CA that signs for them in between")
	for _, b := range bands {
		g.drawBand(c, b)
	}
	g.drawArcs(c, bands)
	y = g.drawReasons(c, y)
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n",
		svgWidth+svgArcs, y+svgMargin)
	out.WriteString("<title>Who can talk to whom with mutual TLS</title>\n" + svgStyle)
	fmt.Fprintf(out, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	out.Write(c.Bytes())
	out.WriteString("</svg>\n")
}

// The columns.
const (
	clientsX = svgMargin + svgPad
	hubX     = clientsX + svgBox + svgGap
	serversX = hubX + svgHub + svgGap
)

func (g *Graph) drawBand(c *canvas, b *band) {
	c.rect("band", svgMargin, b.top, svgWidth-2*svgMargin, b.height)
	c.text("head", clientsX, b.top+22, b.ID+"  "+b.title())
	c.text("small", clientsX, b.top+42, fit(b.signs(), 150))
	middle := b.middle()
	verdict := Yes
	if own := g.link(b.ID, b.ID); own != nil {
		verdict = own.Verdict
	}
	column := func(nodes []*Node, x int, line func(n *Node, y int)) {
		y := middle - columnHeight(nodes)/2
		for _, n := range nodes {
			drawNode(c, n, x, y)
			line(n, y+nodeHeight(n)/2)
			y += nodeHeight(n) + svgPad
		}
	}
	half := svgGap / 2
	column(b.clients, clientsX, func(n *Node, y int) {
		x := clientsX + svgBox
		c.path(n.verdict(verdict), fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x, y, x+half, y, hubX-half, middle, hubX, middle))
	})
	column(b.servers, serversX, func(n *Node, y int) {
		x := hubX + svgHub
		c.path(n.verdict(Yes), fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x, middle, x+half, middle, serversX-half, y, serversX, y))
	})
	height := boxHeight(svgBoxLines)
	c.rect("hub", hubX, middle-height/2, svgHub, height)
	c.text("head", hubX+svgPad, middle-height/2+19, fit(b.hub()[0], svgFits-4))
	c.text("small", hubX+svgPad, middle-height/2+37, fit(b.Issuer, svgFits-2))
}

func drawNode(c *canvas, n *Node, x, y int) {
	class := "box"
	if len(n.Blocked) > 0 {
		class = "box blocked"
	}
	c.rect(class, x, y, svgBox, nodeHeight(n))
	c.text("head", x+svgPad, y+19, fit(n.Kind+"/"+n.Name, svgFits-4))
	second := n.Namespace + ", " + n.Role
	if n.Serves() && x == serversX {
		second = n.Namespace + ", as " + short(n.DNS)
	}
	c.text("small", x+svgPad, y+37, fit(second, svgFits+2))
	for i, reason := range n.Blocked {
		reason, _, _ = strings.Cut(reason, ":") // below stands all of it
		c.text("small bad", x+svgPad, y+37+(i+1)*svgLine, fit(reason, svgFits+2))
	}
}

// drawArcs draws what is between domains: downwards on the right of the hubs, upwards on their
// left. What is not between neighbours goes around the hubs in between.
func (g *Graph) drawArcs(c *canvas, bands []*band) {
	lane := 0
	for i := range g.Links {
		l := &g.Links[i]
		at := func(id string) int { return slices.IndexFunc(bands, func(b *band) bool { return b.ID == id }) }
		from, to := at(l.From), at(l.To)
		if from == to {
			continue
		}
		side, height := 1, boxHeight(svgBoxLines)/2
		if from > to {
			side = -1
		}
		x := hubX + svgHub/2 + side*(24+18*(i%3))
		start, end := bands[from].middle()+side*height, bands[to].middle()-side*height
		if from-to == side || to-from == side {
			c.path(l.Verdict, fmt.Sprintf("M%d %dL%d %d", x, start, x, end))
			continue
		}
		lane++
		around, bend := hubX+svgHub/2+side*(svgHub/2+10+8*(lane%6)), side*svgLine
		c.path(l.Verdict, fmt.Sprintf("M%d %dC%d %d %d %d %d %dL%d %dC%d %d %d %d %d %d",
			x, start, x, start+bend, around, start, around, start+2*bend, around, end-2*bend, around, end, x, end-bend, x, end))
	}
}

// drawReasons lists what cannot talk.
func (g *Graph) drawReasons(c *canvas, y int) int {
	var text bytes.Buffer
	g.textLinks(&text, "cannot talk\n", No)
	g.textBlocked(&text)
	g.textLinks(&text, "not known\n", NotKnown)
	if text.Len() == 0 {
		return y
	}
	y += svgLine
	for line := range strings.Lines(text.String()) {
		indented := strings.TrimLeft(line, " ")
		if indented == "\n" {
			continue
		}
		class := "small"
		if len(indented) == len(line) {
			class = "head"
		}
		c.text(class, svgMargin+3*(len(line)-len(indented)), y, fit(strings.TrimRight(indented, "\n"), 165))
		y += svgLine
	}
	return y
}
