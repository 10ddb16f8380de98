// Package agentcmd is the agent's command line, for its own small program and for
// `mtls-injector agent`.
package agentcmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.io/mtls-injector/agent"
)

// NewCommand returns the command with `run` and `check` below it. parent is what stands
// before name on the command line, for the examples; empty if nothing does.
func NewCommand(parent, name, version string) *cobra.Command {
	program := strings.TrimSpace(parent + " " + name)
	root := &cobra.Command{
		Use:   name,
		Short: "Guard a pod's certificate files: hold back the start, reload on renewal, tell metrics",
		Long: "Guard a pod's certificate files. As a native sidecar it holds back the pod's own containers until the files are right,\n" +
			"has a program reload when they have been replaced, and tells Prometheus when they end.",
		SilenceErrors:     true, // main prints them
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	}
	root.AddCommand(newRunCommand(program, version), newCheckCommand(program))
	return root
}

// fileFlags are those of both commands.
type fileFlags struct {
	files agent.Files
	// getenv knows the variables that names may have.
	getenv func(string) string
}

func (f *fileFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.files.Cert, "cert-file", "", "`file` with the certificate and its intermediates, as PEM")
	flags.StringVar(&f.files.Key, "key-file", "", "`file` with the private key, as PEM")
	flags.StringVar(&f.files.CA, "ca-file", "", "`file` with the CA bundle that the certificate is verified against, as PEM; empty to verify no chain")
	flags.StringSliceVar(&f.files.Usages, "usages", nil, "usages that the certificate must have: "+strings.Join(agent.Usages(), ", "))
	flags.StringSliceVar(&f.files.DNSNames, "dns-names", nil, "DNS names that the certificate must have; ${POD_NAME} is replaced by that variable")
	flags.StringSliceVar(&f.files.URIs, "uris", nil, "URIs that the certificate must have, such as spiffe://cluster.local/ns/shop/sa/orders")
}

// complete returns what the flags say.
func (f *fileFlags) complete() (agent.Files, error) {
	files := f.files
	if files.Cert == "" || files.Key == "" {
		return agent.Files{}, fmt.Errorf("--cert-file and --key-file are needed")
	}
	files.Usages = trimmed(files.Usages)
	for _, usage := range files.Usages {
		if !slices.Contains(agent.Usages(), usage) {
			return agent.Files{}, fmt.Errorf("--usages: %q is none of %s", usage, strings.Join(agent.Usages(), ", "))
		}
	}
	files.URIs = trimmed(files.URIs)
	files.DNSNames = trimmed(files.DNSNames)
	for i, name := range files.DNSNames {
		const variable = "${POD_NAME}"
		if !strings.Contains(name, variable) {
			continue
		}
		pod := f.getenv("POD_NAME")
		if pod == "" {
			return agent.Files{}, fmt.Errorf("--dns-names: %s needs the variable POD_NAME, which is not set", name)
		}
		files.DNSNames[i] = strings.ReplaceAll(name, variable, pod)
	}
	return files, nil
}

// trimmed returns the items without white space around them, and without empty ones.
func trimmed(items []string) []string {
	var all []string
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			all = append(all, item)
		}
	}
	return all
}

const exampleFiles = " --cert-file /etc/tls/server/tls.crt --key-file /etc/tls/server/tls.key --ca-file /etc/tls/ca/ca.crt"

func newCheckCommand(program string) *cobra.Command {
	flags := fileFlags{getenv: os.Getenv}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify the files once and tell every problem",
		Long: "Verify the files once and tell every problem, a line each; exit 1 if there is one.\n\n" +
			"It is the sidecar's startup probe, so the kubelet makes an Event of what it says.",
		Example: "  " + program + " check" + exampleFiles + " \\\n" +
			"    --usages 'server auth' --dns-names orders.shop.svc,orders.shop.svc.cluster.local --uris spiffe://cluster.local/ns/shop/sa/orders",
		Args:              cobra.NoArgs,
		DisableAutoGenTag: true,
		RunE: func(*cobra.Command, []string) error {
			files, err := flags.complete()
			if err != nil {
				return err
			}
			return files.Check(time.Now()).Err()
		},
	}
	flags.bind(cmd.Flags())
	return cmd
}

// runFlags are those of `run`.
type runFlags struct {
	fileFlags
	signal, container, process, url string
	metricsAddress, terminationLog  string
	startTimeout                    time.Duration
}

func (f *runFlags) bind(flags *pflag.FlagSet) {
	f.fileFlags.bind(flags)
	flags.StringVar(&f.signal, "reload-signal", "", "`signal` to send when files have been replaced, such as SIGHUP; needs --reload-container")
	flags.StringVar(&f.container, "reload-container", "", "`name` of the container whose main process gets the signal; the pod needs shareProcessNamespace and both the same user")
	flags.StringVar(&f.process, "reload-process", "", "`name` of the program in that container whose topmost process gets the signal instead, such as nginx")
	flags.StringVar(&f.url, "reload-url", "", "`URL` on localhost to POST to when files have been replaced, instead of a signal")
	flags.StringVar(&f.metricsAddress, "metrics-address", ":9469", "`address` to serve metrics at, path /metrics; empty for none")
	flags.DurationVar(&f.startTimeout, "start-timeout", 10*time.Minute, "how long to wait for files that are right before ending with the reason")
	flags.StringVar(&f.terminationLog, "termination-log", "/dev/termination-log", "`file` for the reason of an end; empty for none")
}

// complete returns what the flags say.
func (f *runFlags) complete(version string, log *slog.Logger) (agent.Options, error) {
	files, err := f.fileFlags.complete()
	if err != nil {
		return agent.Options{}, err
	}
	if f.startTimeout <= 0 {
		return agent.Options{}, fmt.Errorf("--start-timeout must be positive, not %s", f.startTimeout)
	}
	reloader, err := f.reloader()
	if err != nil {
		return agent.Options{}, err
	}
	return agent.Options{
		Files: files, Reloader: reloader, MetricsAddress: f.metricsAddress, StartTimeout: f.startTimeout, Version: version, Log: log,
	}, nil
}

// reloader returns nil where nothing is to be reloaded.
func (f *runFlags) reloader() (agent.Reloader, error) {
	switch {
	case f.url != "" && (f.signal != "" || f.container != "" || f.process != ""):
		return nil, fmt.Errorf("--reload-url excludes --reload-signal, --reload-container and --reload-process")
	case f.url != "":
		reloader, err := agent.NewURLReloader(f.url)
		if err != nil {
			return nil, fmt.Errorf("--reload-url: %w", err)
		}
		return reloader, nil
	case f.signal == "" && (f.container != "" || f.process != ""):
		return nil, fmt.Errorf("--reload-container and --reload-process need --reload-signal")
	case f.signal == "":
		return nil, nil //nolint:nilnil // there is nothing to reload, and that is fine
	case f.container == "":
		return nil, fmt.Errorf("--reload-signal needs --reload-container")
	}
	signal, err := agent.ParseSignal(f.signal)
	if err != nil {
		return nil, fmt.Errorf("--reload-signal: %w", err)
	}
	return agent.SignalReloader{Proc: os.DirFS("/proc"), Container: f.container, Process: f.process, Signal: signal}, nil
}

func newRunCommand(program, version string) *cobra.Command {
	flags := runFlags{fileFlags: fileFlags{getenv: os.Getenv}}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Wait for files that are right, then reload whenever they are replaced",
		Long: "Wait for files that are right, for --start-timeout at most; then watch them, and whenever they have been replaced by others\n" +
			"that are right, send a signal or call a URL. Files that are wrong are logged and counted, and nothing is reloaded for them.\n\n" +
			"Told to stop (SIGTERM, SIGINT), it exits at once.",
		Example: "  # Start guard and metrics\n  " + program + " run" + exampleFiles + "\n\n" +
			"  # nginx in the container web\n  " + program + " run" + exampleFiles + " \\\n    --reload-signal SIGHUP --reload-container web\n\n" +
			"  # A program that reloads on a request\n  " + program + " run" + exampleFiles + " \\\n    --reload-url http://localhost:8001/-/reload",
		Args:              cobra.NoArgs,
		DisableAutoGenTag: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
			return runAgent(cmd.Context(), &flags, version, log)
		},
	}
	flags.bind(cmd.Flags())
	return cmd
}

// runAgent runs the agent, and leaves the reason of its end for the kubelet.
func runAgent(ctx context.Context, flags *runFlags, version string, log *slog.Logger) error {
	opts, err := flags.complete(version, log)
	if err == nil {
		log.Info("the agent starts", "version", version, "certificate", opts.Files.Cert, "reload", describe(opts.Reloader))
		err = agent.Run(ctx, opts)
	}
	if err != nil && flags.terminationLog != "" {
		if failed := writeTermination(flags.terminationLog, err.Error()); failed != nil {
			log.Warn("the termination message could not be written", "error", failed.Error())
		}
	}
	return err
}

func describe(reloader agent.Reloader) string {
	if reloader == nil {
		return "nothing"
	}
	return reloader.String()
}

// writeTermination writes what the kubelet reads into the container's status: at most 4096
// bytes. It does not make the file, which is the kubelet's.
func writeTermination(path, reason string) error {
	const most = 4096
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // an error of writing is told before
	_, err = io.WriteString(file, reason[:min(len(reason), most)])
	return err
}
