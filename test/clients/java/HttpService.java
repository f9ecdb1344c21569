import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** A service that knows nothing of sidekey. Arguments: host, key. Prints protocol, status and body of each answer. */
class HttpService {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String scheme : new String[] {"https", "http"}) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(scheme + "://" + args[0] + "/v1/models"))
                .header("Authorization", "Bearer " + args[1])
                .build();
            var answer = client.send(request, BodyHandlers.ofString());
            System.out.println(answer.version() + " " + answer.statusCode() + " " + answer.body());
        }
    }
}
