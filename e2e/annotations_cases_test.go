package e2e

import (
	"strings"
)

const (
	mtlsVariables = "MTLS_ROLE MTLS_SPIFFE_ID MTLS_CA_CERT MTLS_SERVER_CERT MTLS_SERVER_KEY MTLS_CLIENT_CERT MTLS_CLIENT_KEY"
	noUser        = `container "app" does not say as which user it runs, and only the same user may signal it: set its securityContext.runAsUser, or use mtls.example.io/reload-url`
	wholeList     = "must be a comma-separated list without empty items"
	lowerName     = "must be a lower-case name of letters, digits and '-', at most 63 characters"
	subject       = `must have printable characters only, without comma, '$', '"' and '\'`
)

type annotationCases map[string][]annotationCase

// acceptedValues has two values with different effects for each key, where there are two.
func acceptedValues() annotationCases {
	return annotationCases{
		"role": {
			{value: "server", see: seeFolders, want: "mtls-certs:/etc/tls/server mtls-ca:/etc/tls/ca"},
			{value: "client", see: seeFolders, want: "mtls-certs:/etc/tls/client mtls-ca:/etc/tls/ca"},
			{value: "both", see: seeFolders, want: "mtls-certs:/etc/tls/server mtls-certs:/etc/tls/client mtls-ca:/etc/tls/ca"},
			{value: "none", see: seeInjected, want: "false"},
		},
		"delivery": {
			{value: "secret", see: seeKeyPair, want: "Secret subject-mtls-pod"},
			{value: "csi", see: seeKeyPair, want: "csi.cert-manager.io"},
		},
		"service": {
			{value: "api", see: seeNames, want: "api"},
			{value: "api-grpc, api", see: seeNames, want: "api-grpc api"},
		},
		"dns-names": {
			{value: "one.apps.example.com", and: map[string]string{"role": "client"}, see: seeAttribute("dns-names"), want: "one.apps.example.com"},
			{value: "*.apps.example.com", and: map[string]string{"role": "client"}, see: seeAttribute("dns-names"), want: "*.apps.example.com"},
			{value: "subject", and: map[string]string{"role": "client"}, see: seeAttribute("dns-names"), want: "subject"},
		},
		"common-name": {
			{value: "The Application", see: seeAttribute("common-name"), want: "The Application"},
			{value: "api", see: seeAttribute("common-name"), want: "api"},
		},
		"organizations": {
			{value: "Example, Example Holding", see: seeAttribute("organizations"), want: "Example,Example Holding"},
			{value: "Überbau & Söhne", see: seeAttribute("organizations"), want: "Überbau & Söhne"},
		},
		"organizational-units": {
			{value: "Payments", see: seeAttribute("organizationalunits"), want: "Payments"},
			{value: "Ledger,Cards", see: seeAttribute("organizationalunits"), want: "Ledger,Cards"},
		},
		"issuer": {
			{value: "second-ca", see: seeStatus("issuer"), want: "ClusterIssuer/second-ca"},
			{value: "team-a", and: map[string]string{"issuer-kind": "Issuer"}, see: seeStatus("issuer"), want: "Issuer/team-a"},
		},
		"issuer-kind": {
			{value: "Issuer", and: map[string]string{"issuer": "team-b"}, see: seeAttribute("issuer-kind"), want: "Issuer"},
			{value: "ClusterIssuer", and: map[string]string{"issuer": "second-ca"}, see: seeAttribute("issuer-kind"), want: "ClusterIssuer"},
		},
		"issuer-group": {
			{value: "ca.example.com", see: seeStatus("issuer"), want: "ClusterIssuer.ca.example.com/mtls-ca"},
			{value: "cert-manager.io", see: seeStatus("issuer"), want: "ClusterIssuer/mtls-ca"},
		},
		"duration": {
			{value: "48h", see: seeAttribute("duration"), want: "48h"},
			{value: "90m", see: seeAttribute("renew-before"), want: "30m"},
		},
		"renew-before": {
			{value: "100h", see: seeAttribute("renew-before"), want: "100h"},
			{value: "5m", see: seeAttribute("renew-before"), want: "5m"},
		},
		"key-algorithm": {
			{value: "RSA", see: seeAttribute("key-size"), want: "2048"},
			{value: "ed25519", see: seeAttribute("key-algorithm"), want: "Ed25519"},
			{value: "ECDSA", see: seeAttribute("key-algorithm"), want: "ECDSA"},
		},
		"key-size": {
			{value: "384", see: seeAttribute("key-size"), want: "384"},
			{value: "521", see: seeAttribute("key-size"), want: "521"},
			{value: "4096", and: map[string]string{"key-algorithm": "RSA"}, see: seeAttribute("key-size"), want: "4096"},
		},
		"containers": {
			{value: "app", see: seeServed, want: "app"},
			{value: "istio-proxy, setup", see: seeServed, want: "setup istio-proxy"},
		},
		"exclude-containers": {
			{value: "log", see: seeServed, want: "setup app"},
			{value: "setup,log", see: seeServed, want: "app"},
		},
		"mount-path": {
			{value: "/certs", see: seeFolders, want: "mtls-certs:/certs mtls-ca:/etc/tls/ca"},
			{value: "/certs", and: map[string]string{"delivery": "secret"}, see: seeFolders, want: "mtls-certs:/certs"},
			{value: "/opt/my app/tls", see: seeFolders, want: "mtls-certs:/opt/my app/tls mtls-ca:/etc/tls/ca"},
		},
		"ca-bundle": {
			{value: "corporate", see: seeBundle, want: "ConfigMap corporate"},
			{value: "ConfigMap/other.roots", see: seeBundle, want: "ConfigMap other.roots"},
		},
		"env": {
			{value: "mtls", see: seeVariables, want: mtlsVariables},
			{value: "none", see: seeVariables, want: ""},
			{value: "openssl", see: seeVariables, want: "SSL_CERT_FILE"},
			{value: "curl", see: seeVariables, want: "CURL_CA_BUNDLE"},
			{value: "python", see: seeVariables, want: "REQUESTS_CA_BUNDLE"},
			{value: "node", see: seeVariables, want: "NODE_EXTRA_CA_CERTS"},
			{value: "grpc", see: seeVariables, want: "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"},
			{value: "postgres", see: seeVariables, want: "PGSSLMODE PGSSLROOTCERT PGSSLCERT PGSSLKEY"},
			{value: "aws", see: seeVariables, want: "AWS_CA_BUNDLE"},
			{value: "curl, mtls", see: seeVariables, want: mtlsVariables + " CURL_CA_BUNDLE"},
		},
		"pre-stop-seconds": {
			{value: "25", see: seeSleep, want: "25"},
			{value: "0", see: seeSleep, want: "none"},
		},
		"fs-group": {
			{value: "2000", see: seeAttribute("fs-group"), want: "2000"},
			{value: "4294967295", see: seeAttribute("fs-group"), want: "4294967295"},
		},
		"reload": {
			{value: "restart", see: seeWarning("reload"), want: `mtls.example.io/reload: restart does not restart "Pod/subject", which is no Deployment, StatefulSet or DaemonSet: it gets an Event RestartNeeded instead`},
			{value: "none", see: seeWarning("reload"), want: ""},
		},
		"reload-signal":    {{value: "SIGHUP", and: map[string]string{"role": "none"}, see: seeInjected, want: "false"}},
		"reload-container": {{value: "app", and: map[string]string{"role": "none"}, see: seeInjected, want: "false"}},
		"reload-process":   {{value: "nginx", and: map[string]string{"role": "none"}, see: seeInjected, want: "false"}},
		"reload-url":       {{value: "http://localhost:8080/reload", and: map[string]string{"reload": "signal"}, see: seeStatus("agent"), want: "POST http://localhost:8080/reload"}},
		"agent":            {{value: "false", see: seeStatus("agent"), want: ""}, {value: "true", see: seeStatus("agent"), want: "guard"}},
		"probes": {
			{value: "tcp", see: seeProbe, want: "tcpSocket"},
			{value: "keep", see: seeProbe, want: "httpGet"},
		},
		"companion": {
			{value: "false", see: seeStatus("companion"), want: ""},
			{value: "true", see: seeStatus("companion"), want: "subject-mtls-pod"},
		},
		"status":           {{value: "forged", see: seeStatus("role"), want: "both"}},
		"certificate-hash": {{value: "forged", see: seeStatus("role"), want: "both"}},
	}
}

// refusedValues are those of a pod in the namespace.
func refusedValues(namespace string) annotationCases {
	return annotationCases{
		"role":     {{value: "sever", want: `must be one of server, client, both, none; did you mean "server"?`}, {value: "", want: `must be one of server, client, both, none`}},
		"delivery": {{value: "CSI", want: `must be one of csi, secret; did you mean "csi"?`}},
		"service": {
			{value: "apj", want: `Service "apj" does not exist in namespace "` + namespace + `" or its selector does not match the pod's labels; did you mean "api"?; allowed: api, api-grpc`},
			{value: "somebody-else", want: `Service "somebody-else" does not exist in namespace "` + namespace + `" or its selector does not match the pod's labels; allowed: api, api-grpc`},
			{value: "api.default", want: `item "api.default": ` + lowerName},
		},
		"dns-names": {
			{value: "kubernetes.default.svc", want: `the pod may not claim "kubernetes.default.svc": it is neither a name of a Service that selects the pod, nor of its workload, ` +
				`nor granted to namespace "` + namespace + `" by the configuration (identity.allow); it is a name of namespace "default"`},
			{value: "a.b.apps.example.com", want: `the pod may not claim "a.b.apps.example.com": it is neither a name of a Service that selects the pod, nor of its workload, ` +
				`nor granted to namespace "` + namespace + `" by the configuration (identity.allow)`},
			{value: "API", want: `item "API": must be a lower-case DNS name without a trailing dot, at most 253 characters, 63 between dots`},
		},
		"common-name": {
			{value: "Somebody", want: `must be one of the certificate's DNS names or granted to namespace "` + namespace + `" by the configuration (identity.allow)`},
			{value: "A, B", want: subject},
		},
		"organizations": {
			{value: "A,,B", want: wholeList},
			{value: "${POD_NAME}", want: `item "${POD_NAME}": ` + subject},
			{value: "Example Corp", want: `"Example Corp" is not granted to namespace "` + namespace +
				`" by the configuration (identity.allow); allowed: Example, Example Holding, Überbau & Söhne`},
		},
		"organizational-units": {{value: strings.Repeat("u", 65), want: `item "` + strings.Repeat("u", 65) + `": must have at most 64 bytes (RFC 5280)`}},
		"issuer": {
			{value: "third-ca", want: `issuer ClusterIssuer/third-ca is not allowed in namespace "` + namespace +
				`"; allowed by the configuration: ClusterIssuer/mtls-ca, Issuer/team-*, ClusterIssuer/second-ca, ClusterIssuer.ca.example.com/mtls-ca`},
			{value: "A_B", want: "must be a lower-case name of letters, digits, '-' and '.', at most 253 characters"},
		},
		"issuer-kind": {
			{value: "issuer", want: "must be a kind such as Issuer or ClusterIssuer"},
			{value: "Issuer", want: `issuer Issuer/mtls-ca is not allowed in namespace "` + namespace +
				`"; allowed by the configuration: ClusterIssuer/mtls-ca, Issuer/team-*, ClusterIssuer/second-ca, ClusterIssuer.ca.example.com/mtls-ca`},
		},
		"issuer-group": {{value: "Example.com", want: "must be a lower-case name of letters, digits, '-' and '.', at most 253 characters"}},
		"duration": {
			{value: "90d", want: "must be a Go duration of whole seconds such as 720h or 90m"},
			{value: "59m", want: "must be from 1h to 8760h, the bounds of the configuration (lifetimes)"},
		},
		"renew-before": {
			{value: "1m", want: "must be at least 5m and less than the lifetime of 2160h"},
			{value: "48h", and: map[string]string{"duration": "48h"}, want: "must be at least 5m and less than the lifetime of 48h"},
			{value: "1.5", want: "must be a Go duration of whole seconds such as 720h or 90m"},
		},
		"key-algorithm": {{value: "ECDS", want: `must be one of ECDSA, RSA, Ed25519; did you mean "ECDSA"?`}},
		"key-size": {
			{value: "255", want: "must be 256, 384 or 521 for ECDSA, not 255"},
			{value: "1024", and: map[string]string{"key-algorithm": "RSA"}, want: "must be from 2048 to 8192 for RSA, not 1024"},
			{value: "256", and: map[string]string{"key-algorithm": "Ed25519"}, want: "must be left out for Ed25519, whose keys have one size"},
			{value: "0256", want: "must be a whole number from 1 to 8192"},
		},
		"containers": {
			{value: "App", want: `item "App": ` + lowerName},
			{value: "app", and: map[string]string{"exclude-containers": "app"}, want: "exclude-containers takes out every one of them"},
			{value: "nobody", field: "spec.containers", invalid: "setup, app, log, istio-proxy", want: "no container has a name of mtls.example.io/containers: nobody"},
		},
		"exclude-containers": {
			{value: "a b", want: `item "a b": ` + lowerName},
			{value: "setup,app,log", field: "spec.containers", invalid: "setup, app, log, istio-proxy",
				want: "every container is left out by mtls.example.io/exclude-containers or the configuration: name those that get the files in mtls.example.io/containers"},
		},
		"mount-path": {
			{value: "certs", want: "must be an absolute path such as /certs, without '..', ':', ',', '$' and a trailing '/' or space"},
			{value: "/proc/self", want: "must not hide or lie in /proc"},
			{value: "/etc", want: "must not be or hide /etc/tls/ca, where the CA bundle is mounted, nor be /etc"},
		},
		"ca-bundle": {
			{value: "Secret/ca", want: "must be a name, ConfigMap/name or ClusterTrustBundle/name"},
			{value: "ConfigMap/A", want: "must be a lower-case name of letters, digits, '-' and '.', at most 253 characters"},
		},
		"env": {
			{value: "mtls,phyton", want: `item "phyton": must be one of mtls, openssl, curl, python, node, grpc, postgres, aws, none; did you mean "python"?`},
			{value: "none,mtls", want: "none must stand alone"},
			{value: "", want: wholeList},
		},
		"pre-stop-seconds": {{value: "-1", want: "must be a whole number from 0 to 3600"}, {value: "10s", want: "must be a whole number from 0 to 3600"}},
		"fs-group":         {{value: "0", want: "must be a whole number from 1 to 4294967295"}},
		"reload": {
			{value: "signal", want: noUser},
			{value: "restrat", want: `must be one of none, restart, signal; did you mean "restart"?`},
		},
		"reload-signal":    {{value: "SIGHUP", want: "only with reload: signal"}, {value: "SIGKILL", want: "must be one of SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT, SIGTERM, SIGWINCH"}},
		"reload-container": {{value: "app", want: "only with reload: signal"}, {value: "The App", want: lowerName}},
		"reload-process":   {{value: "nginx", want: "only with reload: signal"}, {value: "nginx: master", want: "must be a process's name as `ps -o comm` shows it, such as nginx: at most 15 characters, of which longer names have the first 15"}},
		"reload-url":       {{value: "http://localhost:1/", want: "only with reload: signal"}, {value: "https://localhost:1/", want: "must be http://localhost:<port>/<path>"}},
		"agent":            {{value: "yes", want: `must be "true" or "false"`}},
		"probes":           {{value: "udp", want: "must be one of keep, tcp"}},
		"companion": {
			{value: "False", want: `must be "true" or "false"`},
			{value: "false", and: map[string]string{"delivery": "secret"}, want: "must be true with delivery: secret, whose Secret is the companion Certificate's"},
			{value: "false", and: map[string]string{"reload": "restart"},
				want: "reload: restart needs the companion Certificate, whose renewal restarts the workload: set companion: true or reload: none"},
		},
	}
}
