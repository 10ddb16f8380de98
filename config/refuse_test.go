package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"example.io/mtls-injector/config"
)

// keys returns the top-level paths of all fields in a file.
func keys(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var document yaml.Node
	require.NoError(t, yaml.Unmarshal(data, &document))
	var walk func(n *yaml.Node, prefix string) []string
	walk = func(n *yaml.Node, prefix string) []string {
		var out []string
		if n.Kind == yaml.MappingNode {
			for i := 0; i < len(n.Content); i += 2 {
				name := prefix + n.Content[i].Value
				out = append(append(out, name), walk(n.Content[i+1], name+".")...)
			}
		}
		return out
	}
	return walk(document.Content[0], "")
}

func TestParseRefusesFiles(t *testing.T) {
	const smallest = `"apiVersion: config.mtls.example.io/v1alpha1\nkind: InjectorConfiguration"`
	for name, test := range map[string]struct{ yaml, want string }{
		"empty":          {"", "the file is empty; for the defaults write " + smallest},
		"comments only":  {"# nothing\n---\n", "the file is empty; for the defaults write " + smallest},
		"a list":         {"- a\n", "must be a mapping that begins with " + smallest},
		"text":           {"apiVersion\n", "must be a mapping that begins with " + smallest},
		"no YAML":        {"a: [\n", "not valid YAML: line 1: did not find expected node content"},
		"tabs":           {header + "issuer:\n\tname: x\n", "not valid YAML: line 4: found character that cannot start any token"},
		"two documents":  {header + "---\n" + header, "line 4: a second YAML document; the file must hold one"},
		"broken second":  {header + "---\n{", "not valid YAML: line 4: did not find expected node content"},
		"no header":      {"companion: true\n", "[apiVersion: Required value: must be config.mtls.example.io/v1alpha1, kind: Required value: must be InjectorConfiguration]"},
		"other version":  {"apiVersion: config.mtls.example.io/v1\nkind: InjectorConfiguration\nfuture: 1\n", `apiVersion: Unsupported value: "config.mtls.example.io/v1": supported values: "config.mtls.example.io/v1alpha1"`},
		"a ConfigMap":    {"apiVersion: v1\nkind: ConfigMap\ndata: {}\n", `[apiVersion: Unsupported value: "v1": supported values: "config.mtls.example.io/v1alpha1", kind: Unsupported value: "ConfigMap": supported values: "InjectorConfiguration"]`},
		"header no text": {"apiVersion: [a]\nkind: InjectorConfiguration\n", "apiVersion: Required value: must be config.mtls.example.io/v1alpha1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(test.yaml))
			require.EqualError(t, err, test.want)
		})
	}
}

func TestParseRefusesForm(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"unknown field":           {"issure: {}", `issure: Forbidden: line 3: unknown field; did you mean "issuer"?`},
		"unknown, wrong case":     {"trustdomain: x", `trustdomain: Forbidden: line 3: unknown field; did you mean "trustDomain"?`},
		"unknown, nested":         {"lifetimes: {server: {renewbefor: 1h}}", `lifetimes.server.renewbefor: Forbidden: line 3: unknown field; did you mean "renewBefore"?`},
		"unknown, in a list":      {"identity: {allow: [{namespaceSelector: {}, dnsNames: [a], zzzzzzzzzzzzzzz: b}]}", `identity.allow[0].zzzzzzzzzzzzzzz: Forbidden: line 3: unknown field; known here: namespaceSelector, dnsNames, uris, ipAddresses, commonNames, organizations, organizationalUnits, countries, provinces, localities, streetAddresses, postalCodes, serialNumbers`},
		"unknown, of a key rule":  {"privateKey: {allowed: [{algorithm: RSA, size: 2048}]}", `privateKey.allowed[0].size: Forbidden: line 3: unknown field; known here: algorithm, minSize, maxSize`},
		"unknown, of admission":   {"admission: {gard: warn}", `admission.gard: Forbidden: line 3: unknown field; did you mean "guard"?`},
		"unknown, in a selector":  {"identity: {allow: [{namespaceSelector: {labels: {}}, dnsNames: [a]}]}", "identity.allow[0].namespaceSelector.labels: Forbidden: line 3: unknown field; known here: matchLabels, matchExpressions"},
		"unknown, nothing near":   {"preStop: {zzzzzzzz: 1}", "preStop.zzzzzzzz: Forbidden: line 3: unknown field; known here: seconds, method"},
		"set twice":               {"companion: true\ncompanion: false", "companion: Forbidden: line 4: already set in line 3"},
		"set twice, nested":       {"issuer:\n  name: a\n  kind: Issuer\n  name: b", "issuer.name: Forbidden: line 6: already set in line 4"},
		"set twice, in a map":     {"identity: {allow: [{dnsNames: [a], namespaceSelector: {matchLabels: {a: b, a: c}}}]}", "identity.allow[0].namespaceSelector.matchLabels[a]: Forbidden: line 3: already set in line 3"},
		"header set twice":        {"kind: Other", "kind: Forbidden: line 3: already set in line 2"},
		"text in place of fields": {"issuer: ca", `issuer: Invalid value: "ca": line 3: must be a mapping (key: value)`},
		"fields in place of text": {"trustDomain: {a: b}", "trustDomain: Invalid value: line 3: must be text; put it in quotes"},
		"list in place of fields": {"preStop: [10]", "preStop: Invalid value: line 3: must be a mapping (key: value)"},
		"text in place of a list": {"env: mtls", `env: Invalid value: "mtls": line 3: must be a list`},
		"number in place of text": {"issuer: {name: 42}", `issuer.name: Invalid value: "42": line 3: must be text; put it in quotes`},
		"text in place of number": {`preStop: {seconds: "10"}`, `preStop.seconds: Invalid value: "10": line 3: must be a whole number`},
		"fraction":                {"preStop: {seconds: 1.5}", `preStop.seconds: Invalid value: "1.5": line 3: must be a whole number`},
		"number too long":         {"preStop: {seconds: 99999999999999999999}", `preStop.seconds: Invalid value: "99999999999999999999": line 3: must be a whole number`},
		"yes is no boolean":       {"companion: yes", `companion: Invalid value: "yes": line 3: must be true or false`},
		"days":                    {"lifetimes: {server: {duration: 90d}}", `lifetimes.server.duration: Invalid value: "90d": line 3: must be a Go duration of whole seconds such as 720h or 90m`},
		"parts of a second":       {"lifetimes: {max: 3600000.5s}", `lifetimes.max: Invalid value: "3600000.5s": line 3: must be a Go duration of whole seconds such as 720h or 90m`},
		"jitter, half a second":   {"restart: {jitter: 0.5s}", `restart.jitter: Invalid value: "0.5s": line 3: must be a Go duration of whole seconds such as 720h or 90m`},
		"restarts, a fraction":    {"restart: {maxConcurrentWorkloads: 2.5}", `restart.maxConcurrentWorkloads: Invalid value: "2.5": line 3: must be a whole number`},
		"unknown, of restart":     {"restart: {maxConcurrentWorkload: 2}", `restart.maxConcurrentWorkload: Forbidden: line 3: unknown field; did you mean "maxConcurrentWorkloads"?`},
		"a number as duration":    {"lifetimes: {min: 3600}", `lifetimes.min: Invalid value: "3600": line 3: must be a Go duration of whole seconds such as 720h or 90m`},
		"grants that are no list": {"identity: {allow: [{namespaceSelector: {}, uris: x}]}", `identity.allow[0].uris: Invalid value: "x": line 3: must be a list`},
		"alias":                   {"issuer: {name: &a x}\ncaBundle: {name: *a}", "caBundle.name: Forbidden: line 4: aliases are not supported, write the value out"},
		"merge":                   {"issuer: {<<: {name: a}}", `issuer.<<: Forbidden: line 3: unknown field; known here: name, kind, group`},
		"key that is no text":     {"? [a]\n: b", "(top): Invalid value: line 3: must be text as a key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(header + test.yaml))
			require.EqualError(t, err, test.want)
		})
	}
}

func TestParseRefusesValues(t *testing.T) {
	const (
		subdomain = `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`
		wildcard  = `a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`
		label     = `a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`
		object    = "must be a lower-case name of letters, digits, '-' and '.', at most 253 characters"
		domain    = "must be a SPIFFE trust domain: 1 to 255 lower-case letters, digits, '.', '-' and '_'"
		rule      = "allowedIssuers: [{namespaceSelector: {}, name: %, kind: Issuer}]"
		grant     = "identity: {allow: [{namespaceSelector: {}, dnsNames: [%]}]}"
	)
	with := func(pattern, value string) string { return strings.Replace(pattern, "%", value, 1) }
	for name, test := range map[string]struct{ yaml, want string }{
		"trust domain, upper case":      {"trustDomain: Example.org", `trustDomain: Invalid value: "Example.org": ` + domain},
		"trust domain, empty":           {`trustDomain: ""`, `trustDomain: Invalid value: "": ` + domain},
		"trust domain, URL":             {"trustDomain: spiffe://a", `trustDomain: Invalid value: "spiffe://a": ` + domain},
		"trust domain, too long":        {"trustDomain: " + strings.Repeat("a", 256), `trustDomain: Invalid value: "` + strings.Repeat("a", 256) + `": ` + domain},
		"cluster domain":                {"clusterDomain: cluster.local.", `clusterDomain: Invalid value: "cluster.local.": ` + subdomain},
		"issuer's name":                 {"issuer: {name: My_CA}", `issuer.name: Invalid value: "My_CA": ` + object},
		"issuer's kind":                 {"issuer: {kind: issuer}", `issuer.kind: Invalid value: "issuer": must be a kind such as Issuer or ClusterIssuer`},
		"issuer's group":                {`issuer: {group: ""}`, `issuer.group: Invalid value: "": ` + object},
		"rule without selector":         {"allowedIssuers: [{name: a, kind: Issuer}]", "allowedIssuers[0].namespaceSelector: Required value: write {} to select every namespace"},
		"rule without name":             {with(rule, `""`), `allowedIssuers[0].name: Invalid value: "": must be an issuer's name or a pattern as in Go's path.Match, such as team-*`},
		"rule with a broken pattern":    {with(rule, `"team-["`), `allowedIssuers[0].name: Invalid value: "team-[": must be an issuer's name or a pattern as in Go's path.Match, such as team-*`},
		"rule broken behind its middle": {with(rule, `"team-*["`), `allowedIssuers[0].name: Invalid value: "team-*[": must be an issuer's name or a pattern as in Go's path.Match, such as team-*`},
		"rule without kind":             {"allowedIssuers: [{namespaceSelector: {}, name: a}]", `allowedIssuers[0].kind: Invalid value: "": must be a kind such as Issuer or ClusterIssuer`},
		"rule with a wildcard kind":     {`allowedIssuers: [{namespaceSelector: {}, name: a, kind: "*"}]`, `allowedIssuers[0].kind: Invalid value: "*": must be a kind such as Issuer or ClusterIssuer`},
		"selector's operator":           {"allowedIssuers: [{namespaceSelector: {matchExpressions: [{key: a, operator: Is}]}, name: a, kind: Issuer}]", `allowedIssuers[0].namespaceSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator`},
		"selector without values":       {"allowedIssuers: [{namespaceSelector: {matchExpressions: [{key: a, operator: In}]}, name: a, kind: Issuer}]", "allowedIssuers[0].namespaceSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"},
		"bundle's kind":                 {"caBundle: {kind: Secret}", `caBundle.kind: Unsupported value: "Secret": supported values: "ConfigMap", "ClusterTrustBundle"`},
		"bundle's name":                 {"caBundle: {name: a/b}", `caBundle.name: Invalid value: "a/b": ` + object},
		"bundle's name, no ConfigMap's": {`caBundle: {name: "a:b"}`, `caBundle.name: Invalid value: "a:b": ` + object},
		"bundle's key":                  {"caBundle: {key: ca/crt}", `caBundle.key: Invalid value: "ca/crt": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`},
		"delivery":                      {"delivery: sceret", `delivery: Invalid value: "sceret": must be one of csi, secret; did you mean "secret"?`},
		"key algorithm":                 {"privateKey: {algorithm: DSA}", `privateKey.algorithm: Invalid value: "DSA": must be one of ECDSA, RSA, Ed25519; did you mean "RSA"?`},
		"ECDSA size":                    {"privateKey: {size: 2048}", "privateKey.size: Invalid value: 2048: must be 256, 384 or 521 for ECDSA, not 2048"},
		"RSA too small":                 {"privateKey: {algorithm: RSA, size: 1024}", "privateKey.size: Invalid value: 1024: must be from 2048 to 8192 for RSA, not 1024"},
		"Ed25519 with a size":           {"privateKey: {algorithm: Ed25519, size: 256}", "privateKey.size: Invalid value: 256: must be left out for Ed25519, whose keys have one size"},
		"key algorithm, lower case":     {"privateKey: {algorithm: rsa}", `privateKey.algorithm: Invalid value: "rsa": must be one of ECDSA, RSA, Ed25519; did you mean "RSA"?`},
		"min too short":                 {"lifetimes: {min: 59m}", `lifetimes.min: Invalid value: "59m": must be at least 1h, cert-manager's own limit`},
		"max under min":                 {"lifetimes: {min: 2160h, max: 2159h, server: {duration: 2160h}, client: {duration: 2160h}, both: {duration: 2160h}}", `[lifetimes.max: Invalid value: "2159h": must be at least min (2160h), lifetimes.server.duration: Invalid value: "2160h": must be from lifetimes.min (2160h) to lifetimes.max (2159h), lifetimes.client.duration: Invalid value: "2160h": must be from lifetimes.min (2160h) to lifetimes.max (2159h), lifetimes.both.duration: Invalid value: "2160h": must be from lifetimes.min (2160h) to lifetimes.max (2159h)]`},
		"duration over max":             {"lifetimes: {both: {duration: 8761h}}", `lifetimes.both.duration: Invalid value: "8761h": must be from lifetimes.min (1h) to lifetimes.max (8760h)`},
		"negative duration":             {"lifetimes: {client: {duration: -1h, renewBefore: 5m}}", `lifetimes.client.duration: Invalid value: "-1h": must be from lifetimes.min (1h) to lifetimes.max (8760h)`},
		"renewBefore too short":         {"lifetimes: {server: {renewBefore: 4m59s}}", `lifetimes.server.renewBefore: Invalid value: "4m59s": must be at least 5m, cert-manager's own limit`},
		"renewBefore zero":              {"lifetimes: {server: {renewBefore: 0s}}", `lifetimes.server.renewBefore: Invalid value: "0s": must be at least 5m, cert-manager's own limit`},
		"renewBefore as long":           {"lifetimes: {server: {duration: 24h, renewBefore: 24h}}", `lifetimes.server.renewBefore: Invalid value: "24h": must be less than duration (24h)`},
		"excluded container":            {"containers: {exclude: [Envoy]}", `containers.exclude[0]: Invalid value: "Envoy": ` + label},
		"excluded twice":                {"containers: {exclude: [a, b, a]}", `containers.exclude[2]: Duplicate value: "a"`},
		"excluded null":                 {"containers: {exclude: [null]}", `containers.exclude[0]: Invalid value: "": ` + label},
		"no env":                        {"env: []", "env: Required value: write [none] for no variables"},
		"unknown env":                   {"env: [mtls, crul]", `env[1]: Invalid value: "crul": must be one of mtls, openssl, curl, python, node, grpc, postgres, aws, none; did you mean "curl"?`},
		"env twice":                     {"env: [mtls, mtls]", `env[1]: Duplicate value: "mtls"`},
		"none beside others":            {"env: [mtls, none]", `env[1]: Invalid value: "none": must stand alone`},
		"preStop negative":              {"preStop: {seconds: -1}", `preStop.seconds: Invalid value: "-1": must be a whole number from 0 to 3600`},
		"preStop method":                {"preStop: {method: http}", `preStop.method: Unsupported value: "http": supported values: "auto", "sleep", "exec"`},
		"probes":                        {"probes: grpc", `probes: Invalid value: "grpc": must be one of keep, tcp`},
		"reload":                        {"reload: always", `reload: Invalid value: "always": must be one of none, restart, signal`},
		"agent image":                   {`agent: {image: "a b"}`, `agent.image: Invalid value: "a b": must be an image reference such as registry.example.com/mtls-injector:v1.0.0, or empty`},
		"agent pull policy":             {"agent: {imagePullPolicy: never}", `agent.imagePullPolicy: Unsupported value: "never": supported values: "Always", "IfNotPresent", "Never"`},
		"agent port, privileged":        {"agent: {metricsPort: 443}", `agent.metricsPort: Invalid value: 443: must be from 1024 to 65535, or 0 for none`},
		"agent port, too high":          {"agent: {metricsPort: 65536}", `agent.metricsPort: Invalid value: 65536: must be from 1024 to 65535, or 0 for none`},
		"agent without time to start":   {"agent: {startTimeout: 9s}", `agent.startTimeout: Invalid value: "9s": must be from 10s to 24h`},
		"agent with a day and more":     {"agent: {startTimeout: 25h}", `agent.startTimeout: Invalid value: "25h": must be from 10s to 24h`},
		"agent request, no quantity":    {"agent: {resources: {requests: {cpu: 5 m}}}", `agent.resources.requests.cpu: Invalid value: "5 m": must be a quantity such as 5m or 16Mi, or empty for none`},
		"agent limit, below zero":       {`agent: {resources: {limits: {cpu: "-1"}}}`, `agent.resources.limits.cpu: Invalid value: "-1": must be a quantity such as 5m or 16Mi, or empty for none`},
		"agent request above its limit": {"agent: {resources: {requests: {memory: 32Mi}}}", `agent.resources.requests.memory: Invalid value: "32Mi": must not be more than the limit of 16Mi`},
		"agent resource, mistyped":      {"agent: {resources: {limits: {memroy: 32Mi}}}", `agent.resources.limits.memroy: Forbidden: line 3: unknown field; did you mean "memory"?`},
		"no companion, but its Secret":  {"companion: false\ndelivery: secret", "companion: Invalid value: false: must be true with delivery: secret, whose Secret is the companion Certificate's"},
		"no companion to restart for":   {"companion: false\nreload: restart", `reload: Invalid value: "restart": needs the companion Certificate, whose renewal restarts the workload: set companion: true or reload: none`},
		"no companion for either":       {"companion: false\ndelivery: secret\nreload: restart", `[reload: Invalid value: "restart": needs the companion Certificate, whose renewal restarts the workload: set companion: true or reload: none, companion: Invalid value: false: must be true with delivery: secret, whose Secret is the companion Certificate's]`},
		"opted in by no label":          {`namespaceSelector: {matchLabels: {"not a label!": x}}`, `namespaceSelector.matchLabels: Invalid value: "not a label!": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`},
		"no restarts at a time":         {"restart: {maxConcurrentWorkloads: 0}", "restart.maxConcurrentWorkloads: Invalid value: 0: must be at least 1"},
		"fewer restarts than none":      {"restart: {maxConcurrentWorkloads: -1}", "restart.maxConcurrentWorkloads: Invalid value: -1: must be at least 1"},
		"jitter back in time":           {"restart: {jitter: -1s}", `restart.jitter: Invalid value: "-1s": must be from 0s to 24h`},
		"jitter of days":                {"restart: {jitter: 24h0m1s}", `restart.jitter: Invalid value: "24h0m1s": must be from 0s to 24h`},
		"grant without selector":        {"identity: {allow: [{dnsNames: [a]}]}", "identity.allow[0].namespaceSelector: Required value: write {} to select every namespace"},
		"grant of nothing":              {"identity: {allow: [{namespaceSelector: {}}]}", "identity.allow[0]: Required value: a rule must grant something: dnsNames, uris, ipAddresses, commonNames, organizations, organizationalUnits, countries, provinces, localities, streetAddresses, postalCodes, serialNumbers"},
		"grant of no DNS name":          {with(grant, "a_b"), `identity.allow[0].dnsNames[0]: Invalid value: "a_b": ` + subdomain},
		"grant of any name":             {with(grant, `"*"`), `identity.allow[0].dnsNames[0]: Invalid value: "*": ` + wildcard},
		"grant two labels deep":         {with(grant, `"*.*.a"`), `identity.allow[0].dnsNames[0]: Invalid value: "*.*.a": ` + wildcard},
		"grant in the middle of a name": {with(grant, `"a.*.b"`), `identity.allow[0].dnsNames[0]: Invalid value: "a.*.b": ` + subdomain},
		"grant of part of a label":      {with(grant, `"*a.b"`), `identity.allow[0].dnsNames[0]: Invalid value: "*a.b": ` + wildcard},
		"grant twice":                   {with(grant, "a, a"), `identity.allow[0].dnsNames[1]: Duplicate value: "a"`},
		"common name too long":          {"identity: {allow: [{namespaceSelector: {}, commonNames: [" + strings.Repeat("a", 65) + "]}]}", `identity.allow[0].commonNames[0]: Invalid value: "` + strings.Repeat("a", 65) + `": must have at most 64 bytes (RFC 5280)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse([]byte(header + test.yaml))
			require.EqualError(t, err, test.want)
		})
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	_, err := config.Load("testdata/every-problem.yaml")
	require.Error(t, err)
	var all utilerrors.Aggregate
	require.ErrorAs(t, err, &all)
	var lines strings.Builder
	for _, one := range all.Errors() {
		lines.WriteString(one.Error() + "\n")
	}
	golden(t, "every-problem.txt", []byte(lines.String()))
	assert.NotContains(t, lines.String(), "privateKey.size: Invalid value: 0", "a field that was not decoded has no value to check")
}

func TestRulesKeepTheirForm(t *testing.T) {
	d, err := config.Load("testdata/rules.yaml")
	require.NoError(t, err)
	encoded, err := config.Encode(d)
	require.NoError(t, err)
	golden(t, "rules.effective.yaml", encoded)
}
