# A static binary and nothing else. Build: docker build -t kpay-sandbox .
FROM rust:1-bookworm AS build
WORKDIR /source
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN target="$(rustc -vV | sed -n 's/host: //p')" \
 && cargo build --release --locked --target "$target" \
 && cp "target/$target/release/kpay-sandbox" /kpay-sandbox \
 && install -d -o 65534 -g 65534 /empty

FROM scratch
COPY --from=build /kpay-sandbox /kpay-sandbox
# Roots for postbacks to listeners with public certificates.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65534:65534 /empty /certs
USER 65534:65534
# 443 needs no privilege in a container: clients reach pay.esicia.com there by a network alias.
ENV KPAY_SANDBOX_LISTEN=0.0.0.0:8443,0.0.0.0:443 KPAY_SANDBOX_CERTS=/certs
EXPOSE 8443 443
VOLUME /certs
HEALTHCHECK --interval=2s --timeout=2s --retries=15 CMD ["/kpay-sandbox", "healthcheck"]
ENTRYPOINT ["/kpay-sandbox"]
