{{/* What the objects for monitoring have in common. */}}

{{/* The metadata of an object: "root", "name" and "of", its block of values. */}}
{{- define "mtls-injector.monitoringMetadata" -}}
name: {{ .name }}
namespace: {{ default .root.Release.Namespace .of.namespace }}
labels:
  {{- include "mtls-injector.labelsAnd" (dict "root" .root "more" .of.labels) | nindent 2 }}
{{- with .of.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How to scrape, of a ServiceMonitor or a PodMonitor: its values, and "port" if it is not "metrics". */}}
{{- define "mtls-injector.scrape" -}}
- port: {{ default "metrics" .port }}
  path: /metrics
  honorLabels: {{ .honorLabels }}
  {{- with .interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- with .relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
