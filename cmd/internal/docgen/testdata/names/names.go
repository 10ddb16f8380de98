// Package names has a constant that others use.
package names

// Prefix begins every key.
const Prefix = "prefix/"
