//go:build node

package nodetest

import (
	"context"
	"maps"
	"regexp"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"example.io/mtls-injector/e2e/debimage"
)

// The key pairs that a client has.
const (
	ownPair     = "/etc/tls/client/tls"
	foreignPair = "/foreign/tls"
	noPair      = ""
)

// caller is software that calls.
type caller struct {
	name, debian string // as a server's
	image        *debimage.Spec
	env          string // the annotation
	annotations  map[string]string
	// command and args keep the container running; config is what it has in /app.
	command, args []string
	config        map[string]string
	// call is the command that calls a host once.
	call  func(host, pair string) []string
	group bool // as a server's
	// quiet means that the command succeeds whatever comes of the call.
	quiet  bool
	serial *regexp.Regexp
	server string // whom it calls in its own test
	// What it says when it has no certificate, that of another CA, or the server has another name.
	without, foreign, wrongName string
}

func clients() []*caller {
	serial := regexp.MustCompile(`"caller":\{.*?"serial":"([0-9a-f]+)"`)
	app := func(file string) map[string]string { return map[string]string{"/app/" + file: file} }
	shell := []string{"sleep", "infinity"}
	return []*caller{
		{
			name: "curl", debian: "curl", image: debimage.Curl(), env: "mtls,curl", command: shell,
			call: func(host, pair string) []string {
				return append([]string{"curl", "-sS", "--fail-with-body", "--max-time", "20", "https://" + host + ":8443/"}, files(pair, "--cert", "--key")...)
			},
			server: "Go", serial: serial,
			without: "alert certificate required", foreign: "alert unknown ca", wrongName: "no alternative certificate subject name matches target host name",
		},
		{
			name: "Python requests", debian: "python3-requests", image: debimage.Python(), env: "mtls,python", command: shell, config: app("client.py"),
			call: func(host, pair string) []string {
				return append([]string{"python3", "/app/client.py", "https://" + host + ":8443/"}, files(pair)...)
			},
			server: "Go", serial: serial,
			without: "certificate required", foreign: "unknown ca", wrongName: "doesn't match",
		},
		{
			name: "Node.js", debian: "nodejs", image: debimage.Node(), env: "mtls,node", command: shell, config: app("client.js"),
			call: func(host, pair string) []string {
				return append([]string{"node", "/app/client.js", "https://" + host + ":8443/"}, files(pair)...)
			},
			server: "Go", serial: serial,
			without: "alert certificate required", foreign: "alert unknown ca", wrongName: "ERR_TLS_CERT_ALTNAME_INVALID",
		},
		{
			// It is a server, too, as it has no shell to wait in.
			name: "Go", image: debimage.Peer(), env: "mtls", annotations: map[string]string{"role": "both"}, args: []string{"serve", "--until-signal"},
			call: func(host, pair string) []string {
				if pair == noPair {
					return []string{"/peer", "call", "--cert=", "https://" + host + ":8443/"}
				}
				return append(append([]string{"/peer", "call"}, files(pair, "--cert", "--key")...), "https://"+host+":8443/")
			},
			server: "Go", serial: serial, quiet: true,
			without: "remote error: tls: certificate required", foreign: "remote error: tls: unknown certificate authority", wrongName: "x509: certificate is valid for ",
		},
		{
			name: "psql", debian: "postgresql-15", image: debimage.Postgres(), env: "mtls,postgres", group: true, command: shell,
			annotations: map[string]string{"common-name": login},
			call: func(host, pair string) []string {
				script := `exec "$@"`
				switch pair {
				case noPair:
					script = "export PGSSLCERT=/none PGSSLKEY=/none; " + script
				case foreignPair:
					script = "install -m 600 /foreign/tls.key /tmp/foreign.key; export PGSSLCERT=/foreign/tls.crt PGSSLKEY=/tmp/foreign.key; " + script
				}
				return []string{"sh", "-c", script, "sh", "psql", "-d", "host=" + host + " user=app dbname=postgres connect_timeout=20", "-Atc",
					"select 'user', current_user, 'serial', client_serial from pg_stat_ssl where pid = pg_backend_pid()"}
			},
			server: "PostgreSQL", serial: regexp.MustCompile(`serial\|(\d+)`),
			without: "connection requires a valid client certificate", foreign: "alert unknown ca", wrongName: "does not match host name",
		},
	}
}

// files are a pair's paths, each after its flag.
func files(pair string, flags ...string) []string {
	if pair == noPair {
		return nil
	}
	if len(flags) == 0 {
		return []string{pair + ".crt", pair + ".key"}
	}
	return []string{flags[0], pair + ".crt", flags[1], pair + ".key"}
}

func clientNamed(name string) *caller {
	for _, one := range clients() {
		if one.name == name {
			return one
		}
	}
	return nil
}

func serverNamed(name string) *server {
	for _, one := range servers() {
		if one.name == name {
			return one
		}
	}
	return nil
}

func (c *caller) pod() string {
	return "client-" + strings.ToLower(strings.ReplaceAll(c.name, " ", "-"))
}

// start runs the client's pod, which waits to be told to call.
func (s *software) start(one *caller) {
	s.Helper()
	annotations := s.annotations("none", map[string]string{"role": "client", "env": one.env})
	maps.Copy(annotations, one.annotations)
	pod := template(one.image, one.config, annotations)
	c := &pod.Spec.Containers[0]
	c.Command, c.Args = one.command, one.args
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: foreignName, MountPath: "/foreign", ReadOnly: true})
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: foreignName, VolumeSource: corev1.VolumeSource{
		Secret: &corev1.SecretVolumeSource{SecretName: foreignName},
	}})
	if one.group {
		s.ownGroup(&pod)
	}
	require.NoError(s, s.Client.Create(s.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: one.pod(), Annotations: pod.Annotations, Labels: map[string]string{"app": one.pod()}},
		Spec:       pod.Spec,
	}))
}

// call has the client call once, and returns all that it prints.
func (s *software) call(ctx context.Context, one *caller, host, pair string) (string, error) {
	return s.Exec(ctx, s.namespace, one.pod(), "app", one.call(host, pair)...)
}

// checkClient checks what a client makes of servers, and that it shows its renewed certificate.
func (s *software) checkClient(one *caller) {
	pod := s.awaitServer(one.pod())
	target := serverNamed(one.server)
	s.checkCalls(one, target, one.without, one.foreign)
	s.setCalls(one.name + " as client")
	before := s.shown(one, target)
	s.renew(pod, one.pod()+"-mtls-pod")
	assert.NotEqual(s, before, s.shown(one, target), "the renewed certificate is shown")
	s.set(one.name+" as client", s.delivery, "reload: none", readsAnew)
}

// shown is the serial of the certificate that the server has seen.
func (s *software) shown(one *caller, target *server) string {
	s.Helper()
	out, err := s.call(s.Context(), one, target.workload("none"), ownPair)
	require.NoError(s, err)
	found := one.serial.FindStringSubmatch(out)
	require.Len(s, found, 2, out)
	return found[1]
}
