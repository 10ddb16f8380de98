package webhook

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	admissionv1 "k8s.io/api/admission/v1"
	klabels "k8s.io/apimachinery/pkg/labels"

	"example.io/mtls-injector/intent"
)

// namespaceObject returns the Namespace "shop" with these annotations and labels.
func namespaceObject(annotations, labels string) string {
	return "{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {" + annotations + "}, labels: {" + labels + "}}}"
}

func TestNamespacesAreValidated(t *testing.T) {
	const wrong, right = "mtls.example.io/role: sever", "mtls.example.io/role: server"
	const problem = `metadata.annotations[mtls.example.io/role]: Invalid value: "sever": must be one of server, client, both, none; did you mean "server"?`
	refused := told{refused: `Namespace "shop" is invalid: ` + problem}
	warned := told{warnings: []string{"pods that leave it as it is will be refused: " + problem}}
	for name, tt := range map[string]struct {
		written written
		mode    intent.Mode
		label   label
		want    told
	}{
		"right":      {written{object: namespaceObject(right, "")}, intent.ModeEnforce, label{outcomeAllowed, reasonValid}, told{}},
		"nothing":    {written{object: namespaceObject("example.com/role: sever", "")}, intent.ModeEnforce, label{outcomeAllowed, reasonValid}, told{}},
		"made wrong": {written{object: namespaceObject(wrong, "")}, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}, refused},
		"turned":     {written{object: namespaceObject(wrong, ""), old: namespaceObject(right, "")}, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}, refused},
		"annotated":  {written{object: namespaceObject(wrong, ""), old: namespaceObject("", "")}, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}, refused},
		"labelled":   {written{object: namespaceObject(wrong, "team: retail"), old: namespaceObject(wrong, "")}, intent.ModeEnforce, label{outcomeWarned, reasonInvalid}, warned},
		"as it was":  {written{object: namespaceObject(wrong+", a.b/c: d", ""), old: namespaceObject(wrong, "")}, intent.ModeEnforce, label{outcomeWarned, reasonInvalid}, warned},
		"made right": {written{object: namespaceObject(right, ""), old: namespaceObject(wrong, "")}, intent.ModeEnforce, label{outcomeAllowed, reasonValid}, told{}},
		"warn":       {written{object: namespaceObject(wrong, "")}, intent.ModeWarn, label{outcomeWarned, reasonInvalid}, warned},
		"off":        {written{object: namespaceObject(wrong, "")}, intent.ModeOff, label{outcomeAllowed, reasonOff}, told{}},
		"a deletion": {written{object: namespaceObject(wrong, ""), change: func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Delete }}, intent.ModeEnforce, label{outcomeAllowed, reasonOperation}, told{}},
		"finalizing": {written{object: namespaceObject(wrong, ""), change: func(r *admissionv1.AdmissionRequest) { r.SubResource = "finalize" }}, intent.ModeEnforce, label{outcomeAllowed, reasonSubresource}, told{}},
		"for pods": {written{object: namespaceObject("mtls.example.io/service: web", "")}, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}, told{
			refused: `Namespace "shop" is invalid: metadata.annotations[mtls.example.io/service]: Invalid value: "mtls.example.io/service": may stand on pods only, not on a Namespace`}},
		"all problems": {written{object: namespaceObject(wrong+", mtls.example.io/env: curl;node", "")}, intent.ModeEnforce, label{outcomeRefused, reasonInvalid}, told{
			refused: `Namespace "shop" is invalid: [` + problem + `, metadata.annotations[mtls.example.io/env]: Invalid value: "curl;node": ` +
				`item "curl;node": must be one of mtls, openssl, curl, python, node, grpc, postgres, aws, none]`}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			v.defaults.Workloads = tt.mode
			assert.Equal(t, tt.want, tt.written.send(t, v.namespaces()))
			v.assertCounted(t, kindNamespace, tt.label)
		})
	}
}

// TestNamespacesByTheirLabels: what a Namespace may ask for depends on its labels as they
// will be.
func TestNamespacesByTheirLabels(t *testing.T) {
	v := newValidated(t)
	v.defaults.AllowedIssuers = []intent.IssuerRule{{Namespaces: klabels.SelectorFromSet(klabels.Set{"team": "retail"}), Name: "retail", Kind: "ClusterIssuer", Group: "cert-manager.io"}}
	const asks = "mtls.example.io/role: client, mtls.example.io/issuer: retail"
	assert.Equal(t, told{}, written{object: namespaceObject(asks, "team: retail")}.send(t, v.namespaces()))
	assert.Contains(t, written{object: namespaceObject(asks, "team: bank")}.send(t, v.namespaces()).refused,
		`Namespace "shop" is invalid: metadata.annotations[mtls.example.io/issuer]: Invalid value: "retail": issuer ClusterIssuer/retail is not allowed`)
}

func TestNamespaceRequestsThatMakeNoSense(t *testing.T) {
	for name, tt := range map[string]struct{ object, want string }{
		"another kind":     {deployment(server), "the request is for apps/v1 Deployment, but this webhook answers for v1 Namespace only: correct the rules of its configuration\n"},
		"of another group": {"{apiVersion: x.io/v1, kind: Namespace, metadata: {name: n}}", "the request is for x.io/v1 Namespace, but this webhook answers for v1 Namespace only: correct the rules of its configuration\n"},
		"of another form":  {"{apiVersion: v1, kind: Namespace, metadata: {name: n, labels: none}}", "reading metadata: "},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidated(t)
			w := sendPlain(v.namespaces(), nil, written{object: tt.object}.review(t))
			assert.Equal(t, http.StatusBadRequest, w.Code)
			assert.Contains(t, w.Body.String(), tt.want)
			v.assertCounted(t, kindNamespace, label{outcomeError, reasonBadRequest})
		})
	}
}
