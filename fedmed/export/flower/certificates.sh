#!/bin/sh
# Makes the certificate authority of this federation and the server's certificate, in the folder certificates.
#     sh certificates.sh SERVER
# SERVER is the name by which hospitals reach the server. Only ca.crt is given to hospitals; keys never leave the server.
set -eu
server=${1:?give the name by which hospitals reach the server}
umask 077
mkdir -p certificates
cd certificates
openssl req -x509 -newkey rsa:4096 -sha256 -nodes -days 825 -subj "/CN=fedmed job CA" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.crt
openssl req -newkey rsa:4096 -sha256 -nodes -subj "/CN=$server" -keyout server.key -out server.csr
printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' "$server" > server.ext
openssl x509 -req -sha256 -days 825 -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile server.ext \
    -out server.crt
rm server.csr server.ext
