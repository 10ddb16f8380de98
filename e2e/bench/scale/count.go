package main

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// counts are numbers of requests.
type counts map[asked]int

func count(requests []request, from, until time.Time) counts {
	c := counts{}
	for i := range requests {
		if r := &requests[i]; !r.at.Before(from) && r.at.Before(until) {
			c[r.asked]++
		}
	}
	return c
}

// of returns how many are of these classes.
func (c counts) of(classes ...class) int {
	sum := 0
	for what, n := range c {
		if slices.Contains(classes, what.class) {
			sum += n
		}
	}
	return sum
}

// own returns how many the controller decides on: reads and writes.
func (c counts) own() int { return c.of(classWrite, classRead) }

// rows returns what was asked for in any of the counts: writes first, then by resource.
func rows(all ...counts) []asked {
	found := map[asked]bool{}
	for _, c := range all {
		for what := range c {
			found[what] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b asked) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.resource, b.resource), cmp.Compare(a.verb, b.verb))
	})
}
