{{/* What the templates of the CA and the bundle share. See docs/trust.md. */}}

{{/* The name of the ClusterIssuer that signs, as the injector's configuration has it. */}}
{{- define "mtls-injector.trust.issuer" -}}
{{- dig "issuer" "name" "mtls-ca" (.Values.config | default dict) -}}
{{- end -}}

{{/* cert-manager's cluster resource namespace: ClusterIssuers have their Secrets in it. */}}
{{- define "mtls-injector.trust.namespace" -}}
{{- .Values.trust.ca.namespace | default .Values.certManager.namespace -}}
{{- end -}}

{{/*
The roots as {"roots": [...]}, each with all its fields: name, secret, key, made (by us),
privateKey and duration. What a generation does not say is fixed here and not in values: a new
default would change roots that are there.
*/}}
{{- define "mtls-injector.trust.roots" -}}
{{- $issuer := include "mtls-injector.trust.issuer" . -}}
{{- $roots := list -}}
{{- if .Values.trust.ca.create -}}
{{- range .Values.trust.ca.generations | default (list .Values.trust.ca.active) -}}
  {{- $given := ternary . (dict "name" (toString .)) (kindIs "map" .) -}}
  {{- $name := toString (required "trust.ca.generations: each needs a name" $given.name) -}}
  {{- $roots = append $roots (dict
        "name" $name
        "made" (not $given.existingSecret)
        "secret" ($given.existingSecret | default (printf "%s-%s" $issuer $name))
        "key" ($given.key | default "tls.crt")
        "privateKey" (merge (dict "rotationPolicy" "Never") ($given.privateKey | default (dict "algorithm" "ECDSA" "size" 256)))
        "duration" ($given.duration | default "87600h")) -}}
{{- end -}}
{{- end -}}
{{- dict "roots" $roots | toJson -}}
{{- end -}}

{{/* The annotations, with their key, of what running pods go on needing without the release. */}}
{{- define "mtls-injector.trust.annotations" -}}
{{- if .Values.trust.keep }}
  annotations:
    helm.sh/resource-policy: keep
{{- end }}
{{- end -}}

{{/* Fails if the CA's values contradict each other or the configuration. */}}
{{- define "mtls-injector.trust.checkCA" -}}
{{- $config := .Values.config | default dict -}}
{{- $kind := dig "issuer" "kind" "ClusterIssuer" $config -}}
{{- $group := dig "issuer" "group" "cert-manager.io" $config -}}
{{- if or (ne $kind "ClusterIssuer") (ne $group "cert-manager.io") -}}
  {{- fail (printf "trust.ca.create makes a ClusterIssuer of cert-manager.io, but config.issuer is of kind %s and group %s: set trust.ca.create=false, or leave out config.issuer.kind and config.issuer.group" $kind $group) -}}
{{- end -}}
{{- $names := list -}}
{{- range (include "mtls-injector.trust.roots" . | fromJson).roots -}}
  {{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .name) -}}
    {{- fail (printf "trust.ca.generations: %q must consist of lower-case letters, digits and dashes: it becomes part of names" .name) -}}
  {{- end -}}
  {{- if and .made (gt (len .secret) 64) -}}
    {{- fail (printf "trust.ca.generations: %q is %d bytes long, but it becomes a common name, which may have 64: shorten the generation or config.issuer.name" .secret (len .secret)) -}}
  {{- end -}}
  {{- if has .name $names -}}
    {{- fail (printf "trust.ca.generations: %q is there twice" .name) -}}
  {{- end -}}
  {{- $names = append $names .name -}}
{{- end -}}
{{- $active := toString .Values.trust.ca.active -}}
{{- if not (has $active $names) -}}
  {{- fail (printf "trust.ca.active is %q, which is not among trust.ca.generations (%s): the root that signs must be one that pods trust" $active (join ", " $names)) -}}
{{- end -}}
{{- end -}}

{{/* Fails if the bundle would not be what injected pods mount, or be empty. */}}
{{- define "mtls-injector.trust.checkBundle" -}}
{{- $kind := dig "caBundle" "kind" "ConfigMap" (.Values.config | default dict) -}}
{{- if ne $kind "ConfigMap" -}}
  {{- fail (printf "trust.bundle.create has trust-manager write ConfigMaps, but config.caBundle.kind is %s: set trust.bundle.create=false, or leave out config.caBundle.kind" $kind) -}}
{{- end -}}
{{- if not (or .Values.trust.ca.create .Values.trust.bundle.sources) -}}
  {{- fail "trust.bundle.create needs something to trust: with trust.ca.create=false, name the CA in trust.bundle.sources" -}}
{{- end -}}
{{- end -}}
