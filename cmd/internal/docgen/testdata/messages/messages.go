// Package messages has texts to find, and texts to leave alone.
package messages

import (
	"errors"
	"fmt"
	"log/slog"

	"example.io/mtls-injector/cmd/internal/docgen/testdata/names"
)

const key = "key"

type row struct{ Help string }

// Example says a few things.
func Example(n int, value string) []error {
	slog.Info("a log is not for everybody")
	slog.Error("nor is this one", "of", row{Help: "neither is a table of help"})
	const unit = "seconds"
	return []error{
		fmt.Errorf("must be from %d to %d "+unit, n, n),
		errors.New(names.Prefix + key + " may not claim " + value + ": it is neither " + fmt.Sprint(n) + " nor its own"),
		fmt.Errorf("Certificate %s is well over 90 %% of it", value),
		errors.New("unknown key: " + value),
		errors.New("short"),
		fmt.Errorf("reading of the key: %w", errors.ErrUnsupported),
	}
}
