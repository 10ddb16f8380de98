package injector

// What has to be known to take out again what was injected, and nothing else ([Unpatch]).

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	corev1 "k8s.io/api/core/v1"

	"example.io/mtls-injector/intent"
)

// Undo is the part of [Status] by which `kubectl mtls uninject` knows its own work again.
type Undo struct {
	// MountPath is empty for the usual folders.
	MountPath string `json:"mountPath,omitempty"`
	// Env are the profiles of the injected variables.
	Env []intent.EnvProfile `json:"env,omitempty"`
	// PreStopSeconds is 0 where no hook was wanted.
	PreStopSeconds int64 `json:"preStopSeconds,omitempty"`
	// Volumes are digests of the injected volumes, in the order of the patch: they tell a
	// volume that was changed by hand.
	Volumes []string `json:"volumes"`
	// Agent is the digest of the agent's command; empty where there is none. Its image may be
	// changed by others.
	Agent  string  `json:"agent,omitempty"`
	Before *Before `json:"before,omitempty"`
}

// Before is what the pod had of its own where something was injected.
type Before struct {
	// GracePeriodSeconds stood there before it was raised; -1: nothing stood there.
	GracePeriodSeconds *int64 `json:"gracePeriodSeconds,omitempty"`
	// Probes are the httpGet actions that became tcpSocket, by <container>/<probe>.
	Probes map[string]*corev1.HTTPGetAction `json:"probes,omitempty"`
	// Kept are the pod's own things that have the name of what is injected:
	// <container>/env/<name>, <container>/preStop, label and shareProcessNamespace.
	Kept []string `json:"kept,omitempty"`
}

const (
	keptLabel    = "label"
	keptEnv      = "/env/"
	keptPreStop  = "/preStop"
	keptShared   = "shareProcessNamespace"
	noGrace      = -1
	beforeMember = `"before":`
)

func (b *Before) isEmpty() bool {
	return b.GracePeriodSeconds == nil && len(b.Probes) == 0 && len(b.Kept) == 0
}

func (b *Before) grace(had *int64) {
	seconds := int64(noGrace)
	if had != nil {
		seconds = *had
	}
	b.GracePeriodSeconds = &seconds
}

func (b *Before) probe(name string, get *intent.HTTPGetAction) {
	if b.Probes == nil {
		b.Probes = map[string]*corev1.HTTPGetAction{}
	}
	b.Probes[name] = &corev1.HTTPGetAction{Path: get.Path, Port: get.Port, Host: get.Host, Scheme: get.Scheme, HTTPHeaders: get.HTTPHeaders}
}

// merge takes over what an earlier call has found. That call saw the pod as it was.
func (b *Before) merge(earlier *Before) {
	if earlier.GracePeriodSeconds != nil {
		b.GracePeriodSeconds = earlier.GracePeriodSeconds
	}
	if len(earlier.Probes) > 0 {
		probes := maps.Clone(earlier.Probes)
		for name, get := range b.Probes {
			if _, known := probes[name]; !known {
				probes[name] = get
			}
		}
		b.Probes = probes
	}
	b.Kept = append(slices.Clone(earlier.Kept), b.Kept...)
}

// keep notes what the pod has of its own. In a pod that was injected before, an earlier call
// has done so, and what is there may be ours.
func (p *patch) keep(name ...string) {
	if _, injected := p.pod.Metadata.Annotations[intent.AnnotationStatus]; !injected {
		p.before.Kept = append(p.before.Kept, p.join(name...))
	}
}

// appendUndo appends the JSON of an [Undo].
func (p *patch) appendUndo(dst []byte) []byte {
	dst = append(dst, '{')
	if p.in.MountPath != "" {
		dst = append(appendQuoted(append(dst, `"mountPath":`...), p.in.MountPath), ',')
	}
	if env := p.in.Env; len(env) > 0 {
		dst = append(appendTexts(append(dst, `"env":`...), len(env), func(i int) string { return string(env[i]) }), ',')
	}
	if seconds := p.in.PreStop.Seconds; seconds > 0 {
		dst = append(strconv.AppendInt(append(dst, `"preStopSeconds":`...), seconds, 10), ',')
	}
	dst = append(dst, `"volumes":[`...)
	for i := range p.volumes {
		dst = append(p.volumes[i].appendDigest(append(comma(dst, i), '"')), '"')
	}
	dst = append(dst, ']')
	if p.in.Agent != nil {
		dst = append(appendTextDigest(append(dst, `,"agent":"`...), p.agentCommand("run")), '"')
	}
	dst = p.appendBefore(dst)
	return append(dst, '}')
}

// appendBefore appends what the pod had, with what an earlier call has found: as it stands,
// where there is nothing new.
func (p *patch) appendBefore(dst []byte) []byte {
	earlier := earlierBefore(p.pod.Metadata.Annotations[intent.AnnotationStatus])
	if p.before.isEmpty() {
		if value := jsontext.Value(earlier); value.Kind() == '{' && value.IsValid() {
			dst = append(append(dst, `,`+beforeMember...), earlier...)
		}
		return dst
	}
	var before Before
	if err := json.Unmarshal([]byte(earlier), &before); err == nil {
		p.before.merge(&before)
	}
	return p.before.appendJSON(append(dst, `,`+beforeMember...))
}

// appendJSON leaves nothing out for HTML's sake. What was decoded can be encoded.
func (b *Before) appendJSON(dst []byte) []byte {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(b); err != nil {
		return append(dst, "{}"...)
	}
	return append(dst, strings.TrimSuffix(text.String(), "\n")...)
}

// earlierBefore cuts out what an earlier call found, which ends the annotation. Whoever
// writes that by hand changes what is put back into his own manifest, and nothing else.
func earlierBefore(annotation string) string {
	_, text, found := strings.Cut(annotation, `,`+beforeMember)
	text, ends := strings.CutSuffix(text, "}}")
	if !found || !ends {
		return ""
	}
	return text
}

// appendDigest appends eight digits that tell the volume from others of its name. They guard
// against nothing but confusion.
func (v *volume) appendDigest(dst []byte) []byte {
	sum := digest(fnvOffset)
	for i := range v.attributes {
		sum.add(v.attributes[i].key)
		sum.add(v.attributes[i].value)
	}
	sum.add(v.secret)
	sum.add(string(v.bundle.Kind))
	sum.add(v.bundle.Name)
	if v.bundle.Kind == intent.BundleConfigMap {
		sum.add(v.bundle.Key)
	}
	sum = (sum ^ digest(v.mode)) * fnvPrime //nolint:gosec // the bits of a mode, whatever they mean
	return sum.appendHex(dst)
}

// appendTextDigest does the same for a list of texts.
func appendTextDigest(dst []byte, texts []string) []byte {
	sum := digest(fnvOffset)
	for _, text := range texts {
		sum.add(text)
	}
	return sum.appendHex(dst)
}

// digest is FNV-1a of 32 bits, which hash/fnv computes on the heap.
type digest uint32

const (
	fnvOffset = 2166136261
	fnvPrime  = 16777619
)

func (d digest) appendHex(dst []byte) []byte {
	const digits = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[d>>shift&15])
	}
	return dst
}

// add adds a text and its end, so that "ab", "c" is not "a", "bc".
func (d *digest) add(text string) {
	for i := range len(text) {
		*d = (*d ^ digest(text[i])) * fnvPrime
	}
	*d *= fnvPrime
}
