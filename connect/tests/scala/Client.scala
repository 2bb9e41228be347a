import java.io.{ByteArrayOutputStream, File}
import java.nio.file.{Files, Path}
import java.security.MessageDigest
import java.util.UUID
import java.util.jar.{JarEntry, JarOutputStream}
import java.util.zip.CRC32
import scala.concurrent.{Await, ExecutionContext, Future}
import scala.concurrent.duration.{Deadline, DurationInt}
import scala.jdk.CollectionConverters.IteratorHasAsScala
import scala.reflect.ClassTag
import scala.util.{Failure, Success, Try}

import org.apache.spark.SparkThrowable
import org.apache.spark.sql.AnalysisException
import org.apache.spark.sql.connect.SparkSession
import org.apache.spark.sql.connect.client.REPLClassDirMonitor
import org.apache.spark.sql.functions.{col, udf}

case class Person(name: String, age: Long)

/** A function that runs on the server, which gets its class from the client. */
object Functions {
  def shout(text: String): String = text.toUpperCase + "!"
}

/** Checks Spark Connect at addresses, with Spark's Scala client.
  *
  * Arguments: the folder of the classes of this program, then the name and the URL of each address. Prints a line
  * `NAME<tab>CHECK<tab>ok` for each check, or `NAME<tab>CHECK<tab>failed: WHY`.
  */
object Client {
  private implicit val threads: ExecutionContext = ExecutionContext.global
  private val limit = 40.seconds

  def main(arguments: Array[String]): Unit = {
    val classes = Path.of(arguments.head).toAbsolutePath
    for (Array(name, url) <- arguments.tail.grouped(2)) {
      val checks = new Checks(url, classes)
      for ((check, run) <- checks.all) {
        val result = Try(Await.result(Future(run()), limit)) match {
          case Success(_) => "ok"
          case Failure(error) => s"failed: ${Causes.text(error)}".replaceAll("\\s+", " ").take(1000)
        }
        println(s"$name\t$check\t$result")
      }
    }
    // Threads of gRPC would keep the process alive.
    System.exit(0)
  }
}

class Failed(message: String, cause: Throwable = null) extends Exception(message, cause)

object Causes {
  def of(error: Throwable): Iterator[Throwable] = Iterator.iterate(error)(_.getCause).takeWhile(_ != null)

  def text(error: Throwable): String = of(error).mkString("\n")
}

/** The checks of one address. */
class Checks(url: String, classes: Path) {
  private implicit val threads: ExecutionContext = ExecutionContext.global
  private lazy val spark = withClasses(session())

  private val ofTransport = Seq[(String, () => Unit)](
    "rows are collected" -> (() => rows()),
    "function of an uploaded jar runs on the server" -> (() => jar()),
    "result of 10 MB is complete and in order" -> (() => large()),
    "wrong token is rejected" -> (() => wrongToken()),
  )

  private val others = Seq[(String, () => Unit)](
    "SQL has parameters" -> (() => parameters()),
    "temporary view is queried" -> (() => view()),
    "typed dataset is filtered and mapped" -> (() => typed()),
    "Scala function runs on the server" -> (() => function()),
    "errors keep class and state" -> (() => errors()),
    "setting is set, read and unset" -> (() => setting()),
    "query is interrupted by its tag" -> (() => interruptTag()),
    "all queries are interrupted" -> (() => interruptAll()),
    "stream starts and stops" -> (() => stream()),
    "stopped session is closed" -> (() => stop()),
  )

  /** Over TLS, only the transport differs. */
  val all: Seq[(String, () => Unit)] = if (url.contains("use_ssl=true")) ofTransport else ofTransport ++ others

  private def session(at: String = url): SparkSession = SparkSession.builder().remote(at).create()

  /** Uploads the classes of this program, which contain the functions. */
  private def withClasses(spark: SparkSession): SparkSession = {
    spark.registerClassFinder(new REPLClassDirMonitor(classes.toString))
    spark
  }

  private def rows(): Unit = {
    expect("range", (0L until 100L).toList)(spark.range(100).collect().toList.map(_.longValue))
    val row = spark.sql("SELECT 1 AS a, 'x' AS b, NULL AS c").collect().map(_.toSeq.toList).toList
    expect("row", List(List(1, "x", null)))(row)
  }

  private def parameters(): Unit = {
    val named = spark.sql("SELECT :text, :number + 1", Map("text" -> "it's", "number" -> 41))
    expect("named", Seq("it's", 42))(named.head().toSeq)
    expect("positional", Seq("x", 2))(spark.sql("SELECT ?, ?", Array("x", 2)).head().toSeq)
  }

  private def view(): Unit = {
    spark.range(5).createOrReplaceTempView("five")
    expect("sum", 10L)(spark.sql("SELECT sum(id) FROM five").head().getLong(0))
    expect("count", 5L)(spark.table("five").count())
  }

  private def typed(): Unit = {
    val session = spark
    import session.implicits._
    val people = Seq(Person("Ada", 36), Person("Ünïcode ✓", 3)).toDS()
    expect("all", List(Person("Ada", 36), Person("Ünïcode ✓", 3)))(people.collect().toList)
    expect("adults", List("Ada is 36"))(people.filter(_.age > 18).map(it => s"${it.name} is ${it.age}").collect().toList)
  }

  private def function(): Unit = {
    val shout = udf(Functions.shout _)
    val found = spark.sql("SELECT 'a' AS text UNION ALL SELECT 'b'").select(shout(col("text"))).collect()
    expect("of a frame", List("A!", "B!"))(found.toList.map(_.getString(0)).sorted)
    spark.udf.register("shout", shout)
    expect("of SQL", "C!")(spark.sql("SELECT shout('c')").head().getString(0))
  }

  private def jar(): Unit = {
    val session = this.session()
    try {
      val file = Files.createTempFile("functions", ".jar")
      Files.write(file, jarOf(classes))
      session.addArtifact(file.toString)
      Files.delete(file)
      val shout = udf(Functions.shout _)
      expect("result", "A!")(session.sql("SELECT 'a' AS text").select(shout(col("text"))).head().getString(0))
    } finally session.stop()
  }

  private def jarOf(folder: Path): Array[Byte] = {
    val bytes = new ByteArrayOutputStream
    val jar = new JarOutputStream(bytes)
    for (file <- Files.walk(folder).iterator.asScala if Files.isRegularFile(file)) {
      jar.putNextEntry(new JarEntry(folder.relativize(file).toString.replace(File.separatorChar, '/')))
      jar.write(Files.readAllBytes(file))
    }
    jar.close()
    bytes.toByteArray
  }

  private def large(): Unit = {
    val (count, repeats) = (40_000, 2)
    val text = s"repeat(sha2(CAST(id AS STRING), 512), $repeats) AS text"
    val (found, expected) = (new CRC32, new CRC32)
    var number = 0L
    for (row <- spark.range(0, count, 1, 4).selectExpr("id", text).toLocalIterator().asScala) {
      expect("number of the row", number)(row.getLong(0))
      found.update(row.getString(1).getBytes)
      val digest = MessageDigest.getInstance("SHA-512").digest(number.toString.getBytes)
      expected.update((digest.map(byte => f"$byte%02x").mkString * repeats).getBytes)
      number += 1
    }
    expect("number of rows", count.toLong)(number)
    expect("checksum", expected.getValue)(found.getValue)
  }

  private def errors(): Unit = {
    val unresolved = caught[AnalysisException](spark.sql("SELECT missing FROM range(1)").collect())
    expect("condition of analysis", "UNRESOLVED_COLUMN.WITH_SUGGESTION")(unresolved.getCondition)
    expect("column", "`missing`")(unresolved.getMessageParameters.get("objectName"))
    val division = caught[ArithmeticException with SparkThrowable](spark.sql("SELECT 1 / 0").collect())
    expect("condition of execution", "DIVIDE_BY_ZERO")(division.getCondition)
    expect("state", "22012")(division.getSqlState)
  }

  private def setting(): Unit = {
    spark.conf.set("dcp.test.color", "green")
    expect("set", "green")(spark.conf.get("dcp.test.color"))
    spark.conf.unset("dcp.test.color")
    expect("unset", None)(spark.conf.getOption("dcp.test.color"))
    spark.conf.set("spark.sql.session.timeZone", "Asia/Kolkata")
    expect("effect", "Asia/Kolkata")(spark.sql("SELECT current_timezone()").head().getString(0))
  }

  /** Starts a query of one task that ends only by an interrupt, or after two minutes. */
  private def endless(session: SparkSession): Future[Any] = Future {
    session.addTag("slow")
    session.range(0, 1, 1, 1).selectExpr("java_method('java.lang.Thread', 'sleep', 120000L)").collect()
  }

  private def interruptTag(): Unit = interrupt { session =>
    expect("another tag", Seq.empty)(session.interruptTag("fast"))
    session.interruptTag("slow")
  }

  private def interruptAll(): Unit = interrupt(_.interruptAll())

  private def interrupt(call: SparkSession => Seq[String]): Unit = {
    val session = this.session()
    try {
      expect("count before", 3L)(session.range(3).count())
      val query = endless(session)
      waitUntil("the query is interrupted")(call(session).nonEmpty)
      val error = caught[Throwable](Await.result(query, 30.seconds))
      expect("condition", "OPERATION_CANCELED")(conditionOf(error))
      expect("count after", 3L)(session.range(3).count())
    } finally session.stop()
  }

  private def stream(): Unit = {
    val ticks = spark.readStream.format("rate").option("rowsPerSecond", 10).load()
    val query = ticks.writeStream.format("memory").queryName("ticks").start()
    try {
      waitUntil("the stream has rows")(spark.table("ticks").count() > 0)
      expect("active", true)(query.isActive)
      expect("active queries", List(query.id))(spark.streams.active.toList.map(_.id))
    } finally query.stop()
    expect("active after its end", false)(query.isActive)
    expect("error", None)(query.exception)
  }

  private def stop(): Unit = {
    val separator = if (url.contains("/;")) ";" else "/;"
    val address = s"$url${separator}session_id=${UUID.randomUUID()}"
    val first = session(address)
    expect("count", 3L)(first.range(3).count())
    first.stop()
    // A client with the same session, as the first one has closed its connection.
    val error = caught[Throwable](session(address).range(3).count())
    expect("closed session", true)(Causes.text(error).contains("INVALID_HANDLE.SESSION_CLOSED"))
  }

  private def wrongToken(): Unit = {
    val wrong = url.replaceFirst("(?<=;token=)[^;]+", "dcp_0_0")
    if (wrong != url) {
      val error = caught[Throwable](session(wrong).range(3).count())
      expect(s"message of the proxy in: ${Causes.text(error)}", true)(Causes.text(error).contains("the token is unknown"))
    }
  }

  private def expect(what: String, expected: Any)(found: Any): Unit =
    if (found != expected) throw new Failed(s"$what: expected $expected, but found $found")

  private def caught[E <: Throwable: ClassTag](run: => Any): E = Try(run) match {
    case Failure(error: E) => error
    case Failure(error) => throw new Failed("another error was expected", error)
    case Success(value) => throw new Failed(s"an error was expected, but found $value")
  }

  private def conditionOf(error: Throwable): String =
    Causes.of(error)
      .collectFirst { case it: SparkThrowable if it.getCondition != null => it.getCondition }
      .getOrElse(Causes.text(error))

  private def waitUntil(condition: String)(poll: => Boolean): Unit = {
    val deadline = Deadline.now + 30.seconds
    while (!poll) {
      if (deadline.isOverdue()) throw new Failed(s"not within 30 s: $condition")
      Thread.sleep(100)
    }
  }
}
