package main

import (
	"bytes"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manPages returns a page of section 1 for each command, by the name of its file. They go
// into the plugin's archives.
func manPages() (map[string]string, error) {
	pages := map[string]string{}
	for _, root := range programs() {
		if err := addManPages(pages, root); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

func addManPages(pages map[string]string, cmd *cobra.Command) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	// The same commands have to give the same page, so it bears no day.
	var never time.Time
	header := &doc.GenManHeader{Title: strings.ToUpper(name), Section: "1", Date: &never, Source: "mtls-injector", Manual: "mtls-injector"}
	var page bytes.Buffer
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return err
	}
	pages[name+".1"] = strings.Replace(page.String(), `"`+never.Format("Jan 2006")+`"`, `""`, 1)
	for _, child := range cmd.Commands() {
		if !child.IsAvailableCommand() {
			continue
		}
		if err := addManPages(pages, child); err != nil {
			return err
		}
	}
	return nil
}
