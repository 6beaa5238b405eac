# Asks for a payment with Net::HTTP.
require "net/http"

uri = URI("https://pay.esicia.com/")
request = Net::HTTP::Post.new(uri)
request.basic_auth("your_username", "your_password")
request.body = '{"action":"checkstatus","refid":"none"}'
begin
  puts Net::HTTP.start(uri.host, uri.port, use_ssl: true, read_timeout: 10) { |http| http.request(request).body }
rescue StandardError => e
  puts "failed: #{e}"
end
