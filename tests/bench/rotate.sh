#!/bin/sh
# What `keyrotor rotate` is compared with: the same rotation as one would type it. It proves nothing, turns back
# nothing, and shows the key in argv. Run in the project; SOPS, UNIT and URL come from the environment.
set -eu
file=secrets/global.enc.env
key=sk-$(openssl rand -hex 32)

"$SOPS" set --input-type dotenv --output-type dotenv "$file" '["LITELLM_MASTER_KEY"]' "\"$key\""
"$SOPS" decrypt --input-type dotenv --output-type dotenv "$file" | grep '^LITELLM_' > ~/.config/lab-secrets/litellm.env
systemctl --user restart "$UNIT"
tries=0
until curl -sf -o /dev/null -H "Authorization: Bearer $key" "$URL/v1/models"; do
    [ $((tries += 1)) -lt 600 ]
    sleep 0.1
done
sed -i "s/\"apiKey\": \"[^\"]*\"/\"apiKey\": \"$key\"/" ~/.factory/settings.json
