// Package docs gives programs the pages that they quote: one text for people who read and
// for people who ask.
package docs

import _ "embed" // for the page

// Troubleshooting is the page with every message and what to do about it.
//
//go:embed troubleshooting.md
var Troubleshooting string
