import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import javax.net.ssl.HttpsURLConnection;

/** Asks for a payment with one of Java's clients: java Client NAME. */
public class Client {
    public static void main(String[] arguments) {
        String body = "{\"action\":\"checkstatus\",\"refid\":\"none\"}";
        String user = Base64.getEncoder().encodeToString("your_username:your_password".getBytes(StandardCharsets.UTF_8));
        URI uri = URI.create("https://pay.esicia.com/");
        try {
            if (arguments[0].equals("HttpClient")) {
                HttpRequest request = HttpRequest.newBuilder(uri).header("Authorization", "Basic " + user)
                    .POST(HttpRequest.BodyPublishers.ofString(body)).build();
                System.out.println(HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body());
                return;
            }
            HttpsURLConnection connection = (HttpsURLConnection) uri.toURL().openConnection();
            connection.setRequestProperty("Authorization", "Basic " + user);
            connection.setDoOutput(true);
            connection.getOutputStream().write(body.getBytes(StandardCharsets.UTF_8));
            System.out.println(new String(connection.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        } catch (Exception error) {
            System.out.println("failed: " + error);
        }
    }
}
