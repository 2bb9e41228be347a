# Copies the files of /opt/dcp/sources/files that the arguments name to /opt/dcp/secrets, and replaces each reference
# ${secret.NAME/KEY} in them by the content of /opt/dcp/sources/secrets/NAME/KEY.
set -euo pipefail
umask 077
LC_ALL=C
sources=/opt/dcp/sources folder=/opt/dcp/secrets
start='${secret.' slash='\'

# Escapes a value for JSON and for Java's properties: backslashes, quotes, blanks and control characters.
escape() {
    local code escaped char
    value=${value//"$slash"/"$slash$slash"}
    for ((code = 1; code <= 34; code++)); do
        ((code <= 32 || code == 34)) || continue
        printf -v escaped '%su%04x' "$slash" "$code"
        printf -v char '%b' "${slash}x${escaped:4}"
        value=${value//"$char"/"$escaped"}
    done
}

for file in "$@"; do
    rest=$(<"$sources/files/$file") out=
    while [[ $rest == *"$start"* ]]; do
        before=${rest%%"$start"*} rest=${rest#*"$start"}
        if [[ $before == *'$' ]]; then
            out+=${before%?}$start
            continue
        fi
        reference=${rest%%'}'*} rest=${rest#*'}'}
        if IFS= read -r -d '' value <"$sources/secrets/$reference"; then
            echo "the secret $reference is no text: it has a NUL byte" >&2
            exit 1
        fi
        value=${value%$'\n'}
        escape
        out+=$before$value
    done
    printf '%s\n' "$out$rest" >"$folder/$file"
done
