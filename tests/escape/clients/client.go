// Asks for a payment with net/http: client NAME.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	client := &http.Client{Timeout: 10 * time.Second}
	if os.Args[1] == "transport" {
		// One of its own has no proxy unless it names one.
		client.Transport = &http.Transport{}
	}
	request, _ := http.NewRequest("POST", "https://pay.esicia.com/", strings.NewReader(`{"action":"checkstatus","refid":"none"}`))
	request.SetBasicAuth("your_username", "your_password")
	answer, err := client.Do(request)
	if err != nil {
		fmt.Println("failed:", err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
}
