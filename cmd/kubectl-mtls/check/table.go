package check

import (
	"context"
)

// Status is how a check ended.
type Status string

// OK: as it should be. Warning: it works, and wants a look. Failure: something will not work.
// NotKnown: the user may not see it.
const (
	OK       Status = "ok"
	Warning  Status = "warning"
	Failure  Status = "failure"
	NotKnown Status = "not known"
)

// Outcome is one thing that a check has found.
type Outcome struct {
	Status  Status `json:"status"`
	Message string `json:"message"`
	// Remedy says what to do; it may have several lines.
	Remedy string `json:"remedy,omitempty"`
}

// check is one of the table.
type check struct {
	// name is for scripts, about says what is checked.
	name, about string
	// why says why it matters.
	why string
	// when says before or after installing, or both.
	when moment
	run  func(*site, context.Context) []Outcome
}

// moment says when a check makes sense.
type moment int

const (
	before moment = 1 << iota
	after
	always = before | after
)

// checks are in the order in which things depend on each other.
var checks = [...]check{
	{"kubernetes", "Kubernetes is new enough, and has what is used",
		"conditions of webhooks decide which pods are sent to it; they are on from 1.28. The agent needs native sidecars, on from 1.29.",
		always, (*site).kubernetes},
	{"installer", "you may install the chart",
		"the chart makes cluster roles, webhook registrations and a namespace.",
		before, (*site).installer},
	{"cert-manager-api", "cert-manager's API is there",
		"cert-manager signs: each pod's certificate is a CertificateRequest, each companion a Certificate.",
		always, (*site).certManagerAPI},
	{"cert-manager", "cert-manager's programs run",
		"without its controller nothing is signed, and without its CA injector the webhook's registration has no CA.",
		always, (*site).certManager},
	{"cert-manager-webhook", "cert-manager's webhook answers",
		"without it no Certificate can be written, and so no companion.",
		always, (*site).certManagerWebhook},
	{"approver", "requests are approved by one approver",
		"a request that nobody approves waits for ever, and its pod with it; cert-manager's own approver approves everything, also what approver-policy would deny.",
		always, (*site).approver},
	{"csi-driver", "cert-manager's CSI driver is installed",
		"it makes the key on the node and mounts the certificate; without it pods stay in ContainerCreating.",
		always, (*site).csiDriver},
	{"csi-driver-nodes", "the CSI driver is registered on every node",
		"a pod on a node without it stays in ContainerCreating.",
		always, (*site).csiDriverNodes},
	{"openshift", "OpenShift lets pods use the CSI driver",
		"it refuses inline volumes of a CSIDriver without a label that says how far it is trusted.",
		always, (*site).openShift},
	{"trust-manager", "trust-manager runs",
		"it writes the CA bundle into every namespace; a pod whose bundle is missing stays in ContainerCreating.",
		always, (*site).trustManager},
	{"injector", "the injector runs, with a configuration that it takes",
		"pods of opted-in namespaces wait while nobody answers.",
		after, (*site).injector},
	{"namespaces", "namespaces are opted in",
		"the API server sends the webhook only pods of these.",
		after, (*site).optedInNamespaces},
	{"issuer", "the issuer of the configuration is ready",
		"it signs for every workload that names no other.",
		after, (*site).issuer},
	{"allowed-issuers", "the issuers that annotations may name are ready",
		"workloads that name one of them wait for it.",
		after, (*site).allowedIssuers},
	{"bundle", "the CA bundle is synced",
		"what the bundle lacks is not trusted by any pod.",
		after, (*site).bundle},
	{"bundle-namespaces", "the CA bundle is in every opted-in namespace",
		"a pod whose bundle is missing stays in ContainerCreating.",
		after, (*site).bundleInNamespaces},
	{"webhook", "the webhook is registered, with a CA that is valid",
		"unregistered, pods come out as they are; with a wrong CA, they cannot be created.",
		after, (*site).webhook},
	{"webhook-certificate", "the webhook's certificate is valid",
		"when it ends, pods of opted-in namespaces cannot be created.",
		after, (*site).webhookCertificate},
	{"injection", "a pod comes out injected (a dry run)",
		"it is the proof that API server and webhook understand each other.",
		after, (*site).injection},
	{"control-plane-ports", "the control plane may reach the webhook",
		"managed control planes are often let through to some ports of the nodes only; pods of opted-in namespaces cannot be created then.",
		always, (*site).ports},
	{"rights", "the injector has its rights",
		"without them companions are not made, not cleaned up, or workloads not restarted.",
		after, (*site).rights},
	{"versions", "chart, program and plugin fit together",
		"a plugin of another version can tell another story than the cluster.",
		after, (*site).versions},
}

func ok(message string) []Outcome { return []Outcome{{Status: OK, Message: message}} }

func warning(message, remedy string) []Outcome { return []Outcome{{Warning, message, remedy}} }

func failure(message, remedy string) []Outcome { return []Outcome{{Failure, message, remedy}} }

func notKnown(message string) []Outcome { return []Outcome{{Status: NotKnown, Message: message}} }

// worst returns the worst of the outcomes' states.
func worst(outcomes []Outcome) Status {
	found := OK
	for _, status := range [...]Status{NotKnown, Warning, Failure} {
		for _, o := range outcomes {
			if o.Status == status {
				found = status
			}
		}
	}
	return found
}
