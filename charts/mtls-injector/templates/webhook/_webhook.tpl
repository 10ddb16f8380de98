{{/* What the three webhooks have in common. */}}

{{/* The namespaces that are opted in, but for those that are never injected: with a webhook
     of their own in the way, these could not start what the webhook itself needs to start. */}}
{{- define "mtls-injector.webhookNamespaceSelector" -}}
{{- $values := .Values -}}
{{- $never := list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace
      $values.certManager.namespace $values.trustManager.namespace $values.csiDriver.namespace -}}
{{- $never = concat $never (default list $values.excludedNamespaces) | uniq | sortAlpha -}}
{{- $selector := deepCopy $values.namespaceSelector -}}
{{- $others := list (dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" $never) -}}
{{- toYaml (set $selector "matchExpressions" (concat (default list $selector.matchExpressions) $others)) -}}
{{- end -}}

{{/* Where the API server calls: "root" and the "path". There is no caBundle, neither here nor
     anywhere: who injects it owns it, and no upgrade or GitOps tool takes it away. */}}
{{- define "mtls-injector.clientConfig" -}}
service:
  name: {{ include "mtls-injector.fullname" .root }}
  namespace: {{ .root.Release.Namespace }}
  port: {{ .root.Values.service.port }}
  path: {{ .path }}
{{- end -}}

{{/* Annotations of a configuration: "root" and what its webhook has of its own. */}}
{{- define "mtls-injector.webhookAnnotations" -}}
{{- $all := merge dict (default dict .own) (default dict .root.Values.webhook.annotations) -}}
{{- if eq .root.Values.webhook.certificate.mode "certManager" -}}
{{- $certificate := printf "%s/%s-webhook" .root.Release.Namespace (include "mtls-injector.fullname" .root) -}}
{{- $all = set $all "cert-manager.io/inject-ca-from" $certificate -}}
{{- end -}}
{{- with $all -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
