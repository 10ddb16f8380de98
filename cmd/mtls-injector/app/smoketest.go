package app

// `mtls-injector smoke-test`: whether a pod would come out injected, asked of the API server
// as anybody who makes a pod asks it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/wait"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"example.io/mtls-injector/cmd/internal/smoketest"
)

// smokeTestOptions are the flags of `mtls-injector smoke-test`.
type smokeTestOptions struct {
	namespace, serviceAccount, kubeconfig string
	timeout                               time.Duration
}

func newSmokeTestCommand() *cobra.Command {
	var opts smokeTestOptions
	cmd := &cobra.Command{
		Use:   "smoke-test",
		Short: "Tell whether a pod would come out injected",
		Long: "Tell whether a pod would come out injected. It is created as a server-side dry run: the API server calls the webhook\n" +
			"as for any other pod, and keeps nothing. So nothing is scheduled, and no image is pulled.\n\n" +
			"The namespace has to be opted in. While the webhook cannot be reached, or is not called yet, it is tried again until\n" +
			"--timeout. What was found is printed line by line; the exit code is 0 if the pod comes out injected, else 1.\n\n" +
			"Needed is the right to create pods in the namespace. With the rights to get the Namespace and to list\n" +
			"mutatingwebhookconfigurations.admissionregistration.k8s.io, it also tells why the webhook is not called.",
		Example: "  # On a workstation, after a namespace was opted in\n" +
			"  kubectl label namespace shop mtls-enabled=true\n" +
			"  mtls-injector smoke-test --namespace shop --kubeconfig ~/.kube/config\n\n" +
			"  # In a pod, as its service account: for pods of another account, and with more patience\n" +
			"  mtls-injector smoke-test --namespace shop --service-account cart --timeout 2m",
		Args:              cobra.NoArgs,
		DisableAutoGenTag: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			test, err := opts.complete()
			if err != nil {
				return err
			}
			return test.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	opts.bind(cmd.Flags())
	return cmd
}

func (o *smokeTestOptions) bind(flags *pflag.FlagSet) {
	flags.StringVarP(&o.namespace, "namespace", "n", "", "opted-in `namespace` to create the pod in")
	flags.StringVar(&o.serviceAccount, "service-account", "default", "`name` of the service account that the pod has")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server (default: the pod's service account)")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "`duration` after which the webhook is no longer waited for")
}

// complete returns the test, or everything that is wrong at once.
func (o *smokeTestOptions) complete() (*smokeTest, error) {
	var errs []error
	if o.namespace == "" {
		errs = append(errs, errors.New("--namespace: is needed"))
	} else if len(validation.IsDNS1123Label(o.namespace)) > 0 {
		errs = append(errs, fmt.Errorf("--namespace: %q is not the name of a namespace", o.namespace))
	}
	if len(validation.IsDNS1123Subdomain(o.serviceAccount)) > 0 {
		errs = append(errs, fmt.Errorf("--service-account: %q is not the name of a service account", o.serviceAccount))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout: must be positive, but is %s", o.timeout))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	config, err := restConfigOf(o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return newSmokeTest(config, *o)
}

// smokeTest asks one API server.
type smokeTest struct {
	smokeTestOptions
	core      coreclient.CoreV1Interface
	admission admissionclient.AdmissionregistrationV1Interface
	warnings  *warningTexts
	// retry is how long to wait between two attempts.
	retry time.Duration
}

func newSmokeTest(config *rest.Config, opts smokeTestOptions) (*smokeTest, error) {
	t := &smokeTest{smokeTestOptions: opts, warnings: &warningTexts{}, retry: time.Second}
	config.WarningHandler = t.warnings
	config.ContentType = runtime.ContentTypeJSON // for whoever looks on
	var err error
	if t.core, err = coreclient.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if t.admission, err = admissionclient.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return t, nil
}

// warningTexts keeps the API server's warnings of the last request, each once. Requests are
// made one after the other.
type warningTexts struct{ texts []string }

// HandleWarningHeader implements [rest.WarningHandler].
func (w *warningTexts) HandleWarningHeader(code int, _, text string) {
	const miscellaneous = 299 // the only one that Kubernetes has
	if code == miscellaneous && text != "" && !slices.Contains(w.texts, text) {
		w.texts = append(w.texts, text)
	}
}

// run prints what is found, and returns an error unless the pod comes out injected.
func (t *smokeTest) run(ctx context.Context, out io.Writer) error {
	tell := func(mark, text string) { _, _ = fmt.Fprintf(out, "%-4s  %s\n", mark, text) }
	pod, problem := t.patiently(ctx, func(text string) { tell("wait", text) })
	for _, text := range t.warnings.texts {
		tell("warn", text)
	}
	if problem != nil {
		return problem
	}
	found := smoketest.Judge(pod, t.namespace, t.serviceAccount)
	for _, text := range found.Good {
		tell("ok", text)
	}
	for _, text := range found.Bad {
		tell("fail", text)
	}
	if len(found.Bad) > 0 {
		return errors.New("the pod does not come out injected\n" + seeOthers)
	}
	tell("ok", found.Summary)
	return nil
}

// notInjectedError is why there is no injected pod.
type notInjectedError struct {
	what, remedy string
	// passing says that it may be over in a moment.
	passing bool
}

// Error implements error.
func (e *notInjectedError) Error() string {
	if e.remedy == "" {
		return e.what
	}
	return e.what + "\n" + e.remedy
}

// patiently tries until the timeout, as long as there is hope. It tells of each problem that
// it waits to be over, unless it is the same as before.
func (t *smokeTest) patiently(ctx context.Context, tell func(string)) (*corev1.Pod, *notInjectedError) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	var pod *corev1.Pod
	var last *notInjectedError
	_ = wait.PollUntilContextCancel(ctx, t.retry, true, func(ctx context.Context) (bool, error) {
		made, now := t.try(ctx)
		// An attempt that the end of the time interrupted says nothing new.
		if now == nil || last == nil || ctx.Err() == nil {
			if now != nil && now.passing && (last == nil || now.what != last.what) {
				tell(now.what)
			}
			pod, last = made, now
		}
		return last == nil || !last.passing, nil
	})
	return pod, last
}

// try makes the pod once. Without a problem, the pod shows a trace of the webhook.
func (t *smokeTest) try(ctx context.Context) (*corev1.Pod, *notInjectedError) {
	t.warnings.texts = nil
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	pod, err := t.core.Pods(t.namespace).Create(ctx, smoketest.Pod(t.namespace, t.serviceAccount), options)
	switch {
	case err != nil:
		return nil, t.explain(err)
	case !smoketest.HasTrace(pod):
		warned := t.warnings.texts
		p := t.whyNotCalled(ctx)
		t.warnings.texts = warned
		return nil, p
	}
	return pod, nil
}

// isPassing reports whether the API server, or the way to it, may be well again soon.
func isPassing(err error) bool {
	var status apierrors.APIStatus
	return !errors.As(err, &status) || apierrors.IsInternalError(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
}
