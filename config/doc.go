// Package config reads the injector's configuration file.
//
// The file is YAML of a versioned kind, InjectorConfiguration. What it leaves out has
// the value of [intent.BuiltinDefaults]; what it says is decoded strictly and validated
// in full, and all problems are reported at once, each with its path. Out comes
// [intent.Defaults], which the rest of the house works with; nobody else sees the file.
//
// Read types.go for the file's form, decode.go and validate.go for what is refused,
// watch.go for the reload while running. example.yaml is the documented default file.
package config
