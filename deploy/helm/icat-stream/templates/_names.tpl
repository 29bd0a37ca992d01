{{- define "icat-stream.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "icat-stream.labels" -}}
app.kubernetes.io/name: icat-stream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "icat-stream.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- /* What of the pod is the same for the daemon and the dashboard. */ -}}
{{- define "icat-stream.pod" -}}
serviceAccountName: {{ include "icat-stream.name" . }}
# Nothing here asks Kubernetes.
automountServiceAccountToken: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.runAsUser }}
  runAsGroup: {{ .Values.runAsGroup }}
  fsGroup: {{ .Values.runAsGroup }}
  {{- with .Values.supplementalGroups }}
  supplementalGroups: {{ toJson . }}
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    configMap: {name: {{ include "icat-stream.name" . }}}
  - name: tmp
    emptyDir: {}
  {{- if or .Values.schemas .Values.existingSchemas }}
  - name: schemas
    configMap:
      name: {{ .Values.existingSchemas | default (printf "%s-schemas" (include "icat-stream.name" .)) }}
  {{- end }}
  {{- if .Values.secrets }}
  - name: secrets
    projected:
      # Read by the group, which is the process's own, and by nobody else.
      defaultMode: 0440
      sources:
        {{- range .Values.secrets }}
        - secret: {name: {{ . }}}
        {{- end }}
  {{- end }}
  - name: state
    {{- if .Values.journalClaim }}
    persistentVolumeClaim: {claimName: {{ .Values.journalClaim }}}
    {{- else }}
    emptyDir: {}
    {{- end }}
  {{- with .Values.data.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "icat-stream.container" -}}
image: {{ include "icat-stream.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: config, mountPath: /etc/icat-stream/config.yaml, subPath: config.yaml, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  - {name: state, mountPath: /var/lib/icat-stream}
  {{- if or .Values.schemas .Values.existingSchemas }}
  - {name: schemas, mountPath: /etc/icat-stream/schemas, readOnly: true}
  {{- end }}
  {{- if .Values.secrets }}
  - {name: secrets, mountPath: /etc/icat-stream/secrets, readOnly: true}
  {{- end }}
  {{- with .Values.data.mounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
