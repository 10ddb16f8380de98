// Package steps has the plugin's commands run as kubectl's own do: flags become values,
// values are checked, and only then is something done.
package steps

import (
	"context"

	"github.com/spf13/cobra"
)

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

// ClusterOptions are those of a command that asks a cluster, and so may be interrupted.
type ClusterOptions interface {
	Complete(args []string) error
	Validate() error
	Run(ctx context.Context) error
}

// OnCluster returns what such a command runs.
func OnCluster(o ClusterOptions) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.Complete(args); err != nil {
			return err
		}
		if err := o.Validate(); err != nil {
			return err
		}
		return o.Run(cmd.Context())
	}
}

// ExitError ends the program with an exit code of its own: what was asked has been told, and
// the answer is a no. All other errors end it with 1.
type ExitError struct {
	Code int
	// Message is for the standard error; empty if everything has been said.
	Message string
}

// Error implements error.
func (e *ExitError) Error() string { return e.Message }

// ExitNo is the exit code of an answer that is a no.
const ExitNo = 2
