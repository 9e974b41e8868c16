{{/* What only the embedding service has. */}}

{{- define "veilface.embedding.settings" -}}
{{- $service := .root.Values.embedding -}}
{{ include "veilface.keyServiceSettings" . }}
embedding_pipelines: {{ toJson $service.pipelines }}
workers: {{ $service.workers }}
# DeepFace makes this folder when it is imported.
embedding_deepface_home: {{ ternary "/var/lib/veilface/deepface" "/var/cache/veilface/deepface" (ne $service.weights.existingClaim "") }}
embedding_downloads: {{ $service.weights.downloads }}
{{- if $service.weights.sha256 }}
embedding_weights_file: /etc/veilface/files/weights.json
{{- end }}
{{- end -}}

{{- define "veilface.embedding.files" -}}
{{- with .root.Values.embedding.weights.sha256 }}
weights.json: {{ toPrettyJson . | quote }}
{{- end }}
{{- end -}}

{{- define "veilface.embedding.env" -}}{{- end -}}

{{- define "veilface.embedding.credentialFiles" -}}
- signing.key
{{- end -}}

{{- define "veilface.embedding.mounts" -}}
{{- if .root.Values.embedding.weights.existingClaim }}
- name: weights
  mountPath: /var/lib/veilface/deepface
  readOnly: {{ not .root.Values.embedding.weights.downloads }}
{{- end }}
{{- end -}}

{{- define "veilface.embedding.volumes" -}}
{{- with .root.Values.embedding.weights.existingClaim }}
- name: weights
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- end -}}
