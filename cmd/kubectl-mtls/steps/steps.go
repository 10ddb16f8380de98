// Package steps has the plugin's commands run as kubectl's own do: flags become values,
// values are checked, and only then is something done.
package steps

import "github.com/spf13/cobra"

// Options are those of a command. Each method is called once, in this order, and the first
// error is the command's.
type Options interface {
	Complete() error
	Validate() error
	Run() error
}

// Of returns what the command runs.
func Of(o Options) func(*cobra.Command, []string) error {
	return func(*cobra.Command, []string) error {
		if err := o.Complete(); err != nil {
			return err
		}
		if err := o.Validate(); err != nil {
			return err
		}
		return o.Run()
	}
}
