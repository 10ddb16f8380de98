package verify

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/cmd/kubectl-mtls/kube"
	"example.io/mtls-injector/cmd/kubectl-mtls/verify/diagnose"
	"example.io/mtls-injector/intent"
)

// Report is what -o json and yaml print.
type Report struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Workload is Kind/name; empty where the pod has none that is known.
	Workload string      `json:"workload,omitempty"`
	Role     intent.Role `json:"role,omitempty"`
	Port     *Port       `json:"port"`
	// Configuration says where the injector's configuration was read.
	Configuration string `json:"configuration"`

	*diagnose.Report

	// Unknown are what the user may not read, each with the rule.
	Unknown []kube.Gap `json:"unknown,omitempty"`
}

// report is the head of the report.
func (f *facts) report(pod *corev1.Pod, port *Port) *Report {
	r := &Report{
		Namespace: pod.Namespace, Pod: pod.Name, Port: port, Configuration: f.configuration,
		Workload: intent.WorkloadOfPod(pod).String(),
	}
	if f.Intent != nil {
		r.Role = f.Intent.Role
	}
	return r
}

// print prints the report for people: what is wrong with all there is to say of it, and what
// is right in a line.
func (r *Report) print(out io.Writer) error {
	var text bytes.Buffer
	fmt.Fprintf(&text, "pod %s/%s, port %d (%s)", r.Namespace, r.Pod, r.Port.Number, r.Port.Source)
	if r.Role != "" {
		fmt.Fprintf(&text, ": %s of %s", r.Role, r.Workload)
	}
	if r.Software != "" {
		fmt.Fprintf(&text, ", %s", r.Software)
	}
	fmt.Fprint(&text, "\n\n")
	for i := range r.Findings {
		printFinding(&text, &r.Findings[i])
	}
	for _, u := range r.NotChecked {
		fmt.Fprintf(&text, "%-9s%-17s%s\n", "-", u.Check, "not checked: "+u.Reason)
	}
	fmt.Fprintln(&text, "\n"+r.summary())
	_, err := out.Write(text.Bytes())
	return err
}

// indent is where the texts of the table begin.
const indent = "                          "

func printFinding(out io.Writer, f *diagnose.Finding) {
	fmt.Fprintf(out, "%-9s%-17s%s\n", f.Severity, f.Check, f.Seen)
	if f.Fault == "" {
		return
	}
	fmt.Fprintf(out, "%sfault: %s\n%swhy:   %s\n%sdo:    %s\n", indent, f.Fault, indent, f.Why, indent, f.Remedy)
	for _, hint := range f.Hints {
		fmt.Fprintf(out, "%s%-7s%s\n", indent, strings.ToLower(string(hint.Software))+":", hint.Text)
	}
}

func (r *Report) summary() string {
	counts := map[diagnose.Severity]int{}
	for i := range r.Findings {
		counts[r.Findings[i].Severity]++
	}
	text := fmt.Sprintf("%d ok, %d warnings, %d failures", counts[diagnose.OK], counts[diagnose.Warning], counts[diagnose.Failure])
	if len(r.NotChecked) > 0 {
		text += fmt.Sprintf(", %d not checked", len(r.NotChecked))
	}
	return text
}
